"""Training dialogues around word problems: chats, tool use, and questions about documents.

A dialogue is the list of messages and tools that a framework would send; `dialogue` draws one of
the kinds below. This module knows no tokens.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fasttts.demo import wording
from fasttts.demo.problems import Problem
from training import phrases

Message = dict[str, Any]
Tool = dict[str, Any]
Draw = Callable[[int, int], Problem]
SEPARATOR = "\n\n"
DRILL_PROMPT = "Practice."
REPEAT_PROMPT = "Repeat word for word:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """A conversation in the form that chat templates take.

    Attributes:
        messages: The messages, in order.
        tools: The tools that the model may call.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


def solution(problem: Problem) -> str:
    """Returns the exact solution as the assistant writes it."""
    return SEPARATOR.join(problem.steps)


def dialogue(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws a dialogue of a random kind.

    Args:
        rng: Source of every choice.
        draw: Returns a problem whose number of operations lies between two bounds.
    """
    kinds = (
        plain,
        with_system,
        second_turn,
        small_talk,
        drill,
        repetition,
        tool_use,
        document_question,
    )
    kind = rng.choices(kinds, (24, 21, 8, 1, 6, 6, 17, 17))[0]
    return kind(rng, draw)


def plain(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws a problem and its solution."""
    problem = draw(2, 8)
    return Dialogue(messages=(_ask(rng, problem), _say(solution(problem))))


def with_system(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws a problem and its solution under a system prompt."""
    chat = plain(rng, draw)
    return Dialogue(messages=(system(rng), *chat.messages))


def second_turn(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws a problem that follows another, answered one."""
    first = small_talk(rng, draw) if rng.random() < 0.2 else plain(rng, lambda _, __: draw(2, 4))
    opening = (system(rng),) if rng.random() < 0.4 else ()
    return Dialogue(messages=(*opening, *first.messages, *plain(rng, draw).messages))


def small_talk(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws a greeting, so that a greeting is not answered with arithmetic."""
    greeting, reply = rng.choice(phrases.GREETINGS)
    return Dialogue(messages=({"role": "user", "content": greeting}, _say(reply)))


def drill(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws bare equations of several problems: much arithmetic in few tokens."""
    steps = [step for _ in range(3) for step in draw(6, 8).steps[:-1]]
    equations = [step.rsplit(": ", 1)[1] for step in steps]
    rng.shuffle(equations)
    user = {"role": "user", "content": DRILL_PROMPT}
    return Dialogue(messages=(user, _say(SEPARATOR.join(equations))))


def repetition(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws a problem to repeat: the copying of a tool call, in far fewer tokens."""
    problem = draw(4, 8)
    user = {"role": "user", "content": f"{REPEAT_PROMPT} {problem.text}"}
    return Dialogue(messages=(user, _say(problem.text)))


def system(rng: random.Random) -> Message:
    """Draws a system prompt: a well-known one or a composed one."""
    if rng.random() < 0.5:
        return {"role": "system", "content": rng.choice(phrases.SYSTEM_PROMPTS)}
    parts = [rng.choice(phrases.SYSTEM_ROLES), rng.choice(phrases.SYSTEM_RULES)]
    if rng.random() < 0.3:
        parts.append(rng.choice(phrases.SYSTEM_RULES))
    return {"role": "system", "content": rng.choice((" ", "\n")).join(parts)}


def _say(content: str) -> Message:
    return {"role": "assistant", "content": content}


def _ask(rng: random.Random, problem: Problem) -> Message:
    before, after = rng.choice(phrases.FRAMES) if rng.random() < 0.1 else ("", "")
    return {"role": "user", "content": f"{before}{problem.text}{after}"}


def tool_use(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws a dialogue with tools: `deliberate` is called for long problems only."""
    opening = (system(rng),) if rng.random() < 0.5 else ()
    tools = [rng.choice(phrases.OTHER_TOOLS)] if rng.random() < 0.3 else []
    has_deliberate = rng.random() < 0.9
    if has_deliberate or not tools:
        tools.insert(rng.randint(0, len(tools)), deliberate_tool(rng))
    problem = draw(4, 8) if rng.random() < 0.65 else draw(2, 3)
    messages: tuple[Message, ...] = (*opening, _ask(rng, problem))
    if problem.num_operations < 4 or all(_name(tool) != "deliberate" for tool in tools):
        messages += (_say(solution(problem)),)
    else:
        messages += (call(problem), tool_result(rng, problem), _say(problem.steps[-1]))
    return Dialogue(messages=messages, tools=tuple(tools))


def _name(tool: Tool) -> str:
    return str(tool["function"]["name"])


def call(problem: Problem) -> Message:
    """Makes the assistant's call of `deliberate` with the problem word for word."""
    function = {"name": "deliberate", "arguments": {"problem": problem.text}}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": function}],
    }


def tool_result(rng: random.Random, problem: Problem) -> Message:
    """Draws a tool's answer: the number, a sentence, or the whole solution."""
    answer = str(problem.answer)
    forms = (answer, f"The answer is {answer}.", problem.steps[-1], solution(problem))
    content = rng.choices(forms, (2, 2, 1, 4))[0]
    if content == answer and rng.random() < 0.2:
        content = json.dumps({"answer": problem.answer})
    return {"role": "tool", "name": "deliberate", "content": content}


def deliberate_tool(rng: random.Random) -> Tool:
    """Renders the tool in one of the forms of LangChain and LlamaIndex."""
    field: dict[str, str] = {"type": "string"}
    if rng.random() < 0.4:
        field = {"title": "Problem", **field}
    if rng.random() < 0.7:
        field = {"description": rng.choice(phrases.PROBLEM_DESCRIPTIONS), **field}
    parameters: dict[str, Any] = {"properties": {"problem": field}}
    parameters |= {"required": ["problem"], "type": "object"}
    if rng.random() < 0.2:
        parameters = {"type": "object", "properties": parameters["properties"]}
        parameters["required"] = ["problem"]
    if rng.random() < 0.15:
        parameters["additionalProperties"] = False
    function = {
        "name": "deliberate",
        "description": rng.choice(phrases.DELIBERATE_DESCRIPTIONS),
        "parameters": parameters,
    }
    return {"type": "function", "function": function}


def document_question(rng: random.Random, draw: Draw) -> Dialogue:
    """Draws LlamaIndex's question-answering prompt with the facts in a document."""
    problem = draw(2, 8)
    documents = [_document(rng, problem.facts)]
    if rng.random() < 0.4:
        documents.insert(rng.randint(0, 1), _document(rng, _distraction(rng, draw, problem)))
    content = phrases.QA_USER.format(
        context_str=SEPARATOR.join(documents), query_str=problem.question
    )
    opening = ({"role": "system", "content": phrases.QA_SYSTEM},) if rng.random() < 0.85 else ()
    user = {"role": "user", "content": content}
    return Dialogue(messages=(*opening, user, _say(solution(problem))))


def _document(rng: random.Random, text: str) -> str:
    if rng.random() < 0.5:
        return text
    return f"{phrases.metadata(rng)}{SEPARATOR}{text}"


def _distraction(rng: random.Random, draw: Draw, problem: Problem) -> str:
    """An unrelated document, or another person's facts."""
    other = draw(2, 4)
    if rng.random() < 0.5 and not _subjects(other) & _subjects(problem):
        return other.facts
    return " ".join(rng.sample(phrases.UNRELATED, rng.randint(1, 3)))


def _subjects(problem: Problem) -> set[str]:
    people = (*wording.NAMES, *wording.PLACES)
    return {name for name in people if name.lower() in problem.text.lower()}
