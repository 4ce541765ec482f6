"""`fasttts chat`: an assistant in the terminal, on models of this machine."""

from fasttts import FastTTS
from fasttts.chat.efforts import check_effort
from fasttts.cli import options, render, session
from fasttts.cli.chat.dialogue import Dialogue
from fasttts.cli.chat.files import Folder
from fasttts.cli.chat.history import Store, StoredConversation
from fasttts.cli.chat.program import Program
from fasttts.cli.chat.screen import Screen
from fasttts.cli.chat.tools import Toolbox
from fasttts.cli.option_values import parse_switches
from fasttts.cli.options import DEFAULTS
from fasttts.config import DEMO, search_config
from fasttts.errors import ConfigurationError


def run(
    *,
    search: options.ChatSearch = None,
    effort: options.Effort = "medium",
    files: options.Files = None,
    tools: options.OfferTools = None,
    resume: options.Resume = False,
    system: options.System = None,
    seed: options.Seed = DEFAULTS.seed,
    max_tokens: options.MaxTokens = DEFAULTS.max_tokens,
    thinking_token_budget: options.ThinkingTokenBudget = None,
    chat_template_kwargs: options.ChatTemplateKwargs = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    dtype: options.DtypeName = None,
    numerics: options.NumericsName = None,
    max_model_len: options.MaxModelLen = None,
    max_num_seqs: options.MaxNumSeqs = None,
    kv_cache_memory_bytes: options.KvCacheMemory = None,
    gpu_memory_utilization: options.MemoryUtilization = None,
    debug: options.Debug = False,
) -> None:
    """Chat with a model that deliberates.

    An answer is drafted, and searched for where the verifier doubts the draft; /plain and
    /deliberate decide otherwise, /help lists all commands. Conversations stay on this machine.
    """
    with session.reported_errors(debug=debug):
        settings = session.engine_settings(
            generator=generator,
            verifier=verifier,
            dtype=dtype,
            numerics=numerics,
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            kv_cache_memory_bytes=kv_cache_memory_bytes,
            gpu_memory_utilization=gpu_memory_utilization,
        )
        method = search or ("self_consistency" if settings.verifier is None else DEFAULTS.search)
        if method == "none":
            raise ConfigurationError("search='none' is what /plain does: name a search")
        config = search_config(
            search=method,
            seed=seed,
            max_tokens=max_tokens,
            thinking_token_budget=thinking_token_budget,
            chat_template_kwargs=parse_switches(chat_template_kwargs),
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        )
        session.check_search(config, settings)
        level = check_effort(effort)
        folder = None if files is None else Folder(files)
        store = Store()
        conversation = _conversation(store, resume=resume)
        system = session.system_message(system)
        with session.loaded(settings) as engine:
            toolbox = Toolbox(folder) if _is_offering(engine, tools) else None
            dialogue = Dialogue(engine, conversation, toolbox=toolbox, base=config, system=system)
            dialogue.effort = level
            _chat(engine, dialogue, store, folder, toolbox)


def _is_offering(engine: FastTTS, wanted: bool | None) -> bool:
    """Whether the model is offered tools; None offers them to models that can call some.

    Raises:
        ConfigurationError: They are wanted for a model that is not told of them.
    """
    if wanted is None:
        return engine.generator_name != DEMO and engine.renders_tools
    if wanted and not engine.renders_tools:
        raise ConfigurationError(
            f"--tools: the chat template of generator={engine.generator_name!r} has no place for "
            "tools: leave the option out, or name another model with --generator or "
            "FASTTTS_GENERATOR"
        )
    return wanted


def _chat(
    engine: FastTTS,
    dialogue: Dialogue,
    store: Store,
    folder: Folder | None,
    toolbox: Toolbox | None,
) -> None:
    screen = Screen(render.stdout())
    if screen.console.is_terminal:
        screen.greet(
            engine, files=folder.root if folder else None, tools=offered_tools_row(engine, toolbox)
        )
    if dialogue.conversation.turns:
        screen.resumed(dialogue.conversation)
    Program(engine, dialogue, store, screen, folder=folder).run()


def offered_tools_row(engine: FastTTS, toolbox: Toolbox | None) -> str:
    """Describes the tools of a model for the greeting.

    Args:
        engine: The loaded models.
        toolbox: The tools that the model is offered; None for none.
    """
    if toolbox is not None:
        return ", ".join(toolbox.names)
    if engine.renders_tools:
        return "none for the model; /help lists yours"
    return "none for the model, whose chat template has no place for them; /help lists yours"


def _conversation(store: Store, *, resume: bool) -> StoredConversation:
    if not resume:
        return store.new()
    recent = store.recent(1)
    if not recent:
        raise ConfigurationError("there is no conversation to go on with: leave --resume out")
    return recent[0]
