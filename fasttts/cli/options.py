"""The options of the commands, each declared once."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from fasttts.code.sandbox import SandboxName
from fasttts.config import (
    ANSWER_RULES,
    JSON_FIELD,
    Aggregation,
    Dtype,
    SearchConfig,
    SearchMethod,
    Selection,
)
from fasttts.evaluation import METHODS

DEFAULTS = SearchConfig()
"""Defaults of the search options."""

Problem = Annotated[
    str, typer.Argument(metavar="PROBLEM", help="The problem; '-' reads it from stdin.")
]
Dataset = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET",
        help="A file of problems, 'demo': the bundled word problems, 'programs': functions to "
        "write, or reasoning-gym:NAME.",
        show_default=False,
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="In place of DATASET: tasks of lm-evaluation-harness that generate, with commas.",
    ),
]
IncludePath = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A directory of further tasks.")
]
Methods = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help=f"These methods, with commas: {', '.join(METHODS)}."),
]
Compared = Annotated[
    list[str] | None,
    typer.Option(
        "--search",
        metavar="METHOD",
        help="Compared with greedy, majority and best_of_n: one of the same; repeatable.",
    ),
]
EvalProblems = Annotated[
    int | None,
    typer.Option(
        "--num-problems",
        "--limit",
        metavar="N",
        help="Problems, drawn by --seed; by default all of a file, 100 of what is generated.",
        show_default=False,
    ),
]
ProblemField = Annotated[
    str | None, typer.Option(metavar="NAME", help="The field of a file that holds the problem.")
]
AnswerField = Annotated[
    str | None, typer.Option(metavar="NAME", help="The field of a file that holds the answer.")
]
Sandbox = Annotated[
    str,
    typer.Option(
        "--sandbox",
        metavar="NAME",
        help=f"Where models' programs run: {', '.join(get_args(SandboxName))}; with 'none' they "
        "have your rights.",
    ),
]
OwnScoring = Annotated[
    bool,
    typer.Option(
        "--own-scoring",
        help="Grade with the code of the reasoning-gym set, which may run parts of answers.",
    ),
]
SearchOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Any other option of a search, such as lookahead_steps=2; repeatable.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep a line for each problem and method here; continue if it exists.",
    ),
]
MaxSeconds = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Longest run, without loading the models.")
]
MaxTokensTotal = Annotated[
    int | None, typer.Option(metavar="N", help="Sampled tokens after which the run ends.")
]
InFlight = Annotated[
    int, typer.Option(metavar="N", help="Most problems in work, or waiting, at a time.")
]
CurvePlot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves into a PNG file.")
]
SolveSearch = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="METHOD",
        help=f"One of {', '.join(get_args(SearchMethod))}; 'none' decodes once. beam_search with "
        "a verifier; without, 'none', or self_consistency with -n.",
    ),
]
Count = Annotated[int, typer.Option("-n", metavar="N", help="Candidates or beams.")]
SolveCount = Annotated[
    int | None,
    typer.Option("-n", metavar="N", help=f"Candidates or beams, {DEFAULTS.n} by default."),
]
BeamWidth = Annotated[
    int, typer.Option(metavar="N", help="Children of each surviving beam; divides -n.")
]
Seed = Annotated[
    int, typer.Option(metavar="N", help="The same seed gives the same result; see --numerics.")
]
Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="T", help="0 is greedy; searches default to 0.8, plain decoding to the model's."
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(metavar="P", help="Most likely tokens of this probability; 1 is off."),
]
TopK = Annotated[int | None, typer.Option(metavar="K", help="The K most likely tokens; 0 is off.")]
MinP = Annotated[
    float | None,
    typer.Option(metavar="P", help="Tokens of this share of the largest probability; 0 is off."),
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option(metavar="R", help="Above 1, tokens that occurred are less likely; 1 is off."),
]
MaxTokens = Annotated[int, typer.Option(metavar="N", help="Longest answer in tokens.")]
StepPattern = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help=r"A step ends with a match, such as '\n'; a blank line by default.",
        show_default=False,
    ),
]
StepTokens = Annotated[
    int | None,
    typer.Option(metavar="N", help="A step has this many tokens.", show_default=False),
]
Thinking = Annotated[
    bool,
    typer.Option("--thinking", help="Divide only what stands between <think> and </think>."),
]
ThinkingTokenBudget = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="A thought is ended by force after N tokens.", show_default=False
    ),
]
ChatTemplateKwargs = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help="Switches of the model's chat template, such as '{\"enable_thinking\": false}'.",
        show_default=False,
    ),
]
Answer = Annotated[
    str,
    typer.Option(
        metavar="RULE",
        help=f"Where the answer stands: {', '.join(ANSWER_RULES)} or {JSON_FIELD}FIELD.",
    ),
]
ChosenBy = Annotated[
    str | None,
    typer.Option(
        "--selection",
        metavar="RULE",
        help=f"How it is chosen: {', '.join(get_args(Selection))}.",
    ),
]
PathScore = Annotated[
    str,
    typer.Option(
        "--aggregation",
        metavar="RULE",
        help=f"How steps score a path: {', '.join(get_args(Aggregation))}.",
    ),
]
ChatSearch = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="METHOD",
        help="How it deliberates; beam_search with a verifier, self_consistency without.",
    ),
]
Effort = Annotated[
    str, typer.Option(metavar="LEVEL", help="How wide searches are: low, medium, high.")
]
Files = Annotated[
    Path | None,
    typer.Option(metavar="DIRECTORY", help="Files below it may be read, others may not."),
]
OfferTools = Annotated[
    bool | None,
    typer.Option(
        "--tools/--no-tools",
        help="Whether the model may call tools; by default if its chat template shows them.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the last conversation.")]
System = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="A system message; 'preset:math' asks for steps and a boxed answer."
    ),
]
NumProblems = Annotated[int, typer.Option(metavar="N", help="Test problems.")]
MinOperations = Annotated[
    int | None,
    typer.Option(
        "--min-operations",
        metavar="N",
        help="Fewest operations of a problem: 4 of 'demo', 2 of 'programs'.",
        show_default=False,
    ),
]
MaxOperations = Annotated[
    int | None,
    typer.Option(
        "--max-operations",
        metavar="N",
        help="Most operations of a problem: 8 of 'demo', 4 of 'programs'.",
        show_default=False,
    ),
]
EvalPathScore = Annotated[
    str | None,
    typer.Option(
        "--aggregation",
        metavar="RULE",
        help=f"How steps score a path: {', '.join(get_args(Aggregation))}. 'last' by default, "
        "'model' with --verifier tests.",
        show_default=False,
    ),
]
Generator = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="'demo' (the default), a model directory or a hub name."),
]
Verifier = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A model, named in the same way; 'judge': the generator; a signal of its own, such as "
        "'mean_confidence'; or module:function.",
    ),
]
EvalVerifier = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A model, named in the same way; 'judge': the generator; a signal of its own, such as "
        "'mean_confidence'; module:function; or 'tests': the shown tests of problems about "
        "programs.",
    ),
]
DtypeName = Annotated[
    str | None,
    typer.Option("--dtype", metavar="TYPE", help=f"One of {', '.join(get_args(Dtype))}."),
]
NumericsName = Annotated[
    str | None,
    typer.Option(
        "--numerics",
        metavar="KIND",
        help="'deterministic': batch-invariant kernels on a GPU, for equal results; or 'default'.",
    ),
]
MaxModelLen = Annotated[
    int | None,
    typer.Option(metavar="N", help="Longest prompt and answer; by default what memory holds."),
]
MaxNumSeqs = Annotated[
    int | None, typer.Option(metavar="N", help="Sequences that decode together.")
]
KvCacheMemory = Annotated[
    str | None,
    typer.Option(
        "--kv-cache-memory-bytes",
        metavar="SIZE",
        help="KV cache of each model, such as 2GiB; planned by default.",
    ),
]
MemoryUtilization = Annotated[
    float | None,
    typer.Option(
        "--gpu-memory-utilization",
        metavar="SHARE",
        help="Of the device's memory, or of a CPU's free memory; 0.9 by default.",
    ),
]
CacheDir = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Keep results here, and do not search for them again."),
]
Transport = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="'stdio': a client starts this command; or 'http': it connects."
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", help="Most seconds of a call; the best answer so far is returned then."
    ),
]
MaxProblemTokens = Annotated[int, typer.Option(metavar="N", help="Longest problem.")]
AllowedOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-origin",
        metavar="ORIGIN",
        help="Pages of this origin may call, such as https://example.org; repeatable.",
        show_default=False,
    ),
]
ToolSearch = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="METHOD",
        help="How the tools search; beam_search with a verifier, self_consistency without.",
    ),
]
Stats = Annotated[
    bool, typer.Option("--stats", help="Also print counts: iterations, tokens, seconds.")
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw the use of the batch into a PNG file."),
]
Tree = Annotated[
    Path | None,
    typer.Option("--tree", metavar="FILE", help="Write a page that shows the search to *.html."),
]
Trees = Annotated[
    Path | None,
    typer.Option("--trees", metavar="DIR", help="Write a page for each problem, with all methods."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
LogFormatName = Annotated[
    str | None,
    typer.Option("--log-format", metavar="FORMAT", help="Log to stderr as 'text' or as 'json'."),
]
LogLevelName = Annotated[
    str | None,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help="Log to stderr from this level on: debug, info, warning or error.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 is all of the machine's.")
]
Port = Annotated[int, typer.Option(metavar="N", help="The port; 0 takes a free one.")]
ServedNames = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="What clients call the model; repeatable.",
        show_default=False,
    ),
]
ServedSearch = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="METHOD",
        help="Of calls that name the model alone: none (the default), auto or a search.",
        show_default=False,
    ),
]
ApiKeyFile = Annotated[str | None, typer.Option(metavar="FILE", help="API keys, one in each line.")]
CorsOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        metavar="ORIGIN",
        help="Pages of this origin may call from a browser; repeatable.",
    ),
]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host",
        metavar="NAME",
        help="Requests may call the server by this name; repeatable. On loopback its names alone.",
        show_default=False,
    ),
]
MaxRequests = Annotated[
    int | None,
    typer.Option(metavar="N", help="Requests in work at a time, 256; more are refused at once."),
]
MaxBodyBytes = Annotated[
    int | None, typer.Option(metavar="N", help="Longest body of a request, 4 MiB.")
]
MaxPromptTokens = Annotated[
    int | None, typer.Option(metavar="N", help="Longest prompt; by default what the context holds.")
]
MaxBeams = Annotated[
    int | None, typer.Option(metavar="N", help="Most candidates or beams of a request, 256.")
]
MaxRequestSeconds = Annotated[
    float | None,
    typer.Option("--max-seconds", metavar="SECONDS", help="Longest time of a request."),
]
DrainSeconds = Annotated[
    float,
    typer.Option(
        min=0.0, metavar="SECONDS", help="Time for requests in work to end when it is stopped."
    ),
]
