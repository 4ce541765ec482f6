"""Fixed texts of the training dialogues: system prompts, tools, documents, small talk."""

import random
from typing import Any

QA_SYSTEM = (
    "You are an expert Q&A system that is trusted around the world.\n"
    "Always answer the query using the provided context information, "
    "and not prior knowledge.\n"
    "Some rules to follow:\n"
    "1. Never directly reference the given context in your answer.\n"
    "2. Avoid statements like 'Based on the context, ...' or "
    "'The context information ...' or anything along "
    "those lines."
)
QA_USER = (
    "Context information is below.\n"
    "---------------------\n"
    "{context_str}\n"
    "---------------------\n"
    "Given the context information and not prior knowledge, "
    "answer the query.\n"
    "Query: {query_str}\n"
    "Answer: "
)
REASON_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
SYSTEM_PROMPTS = (
    REASON_PROMPT,
    REASON_PROMPT,
    REASON_PROMPT,
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a helpful AI assistant.",
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "Solve the following math problem step by step.",
    "You are a careful math tutor. Show every step.",
    "You are a helpful assistant. Use the tools when a problem is hard.",
    "Use a tool for hard problems and answer easy ones yourself.",
    "Answer the question.",
    "Think before you answer.",
)
SYSTEM_ROLES = (
    "You are a helpful assistant.",
    "You are a careful assistant.",
    "You are a friendly teacher.",
    "You are an expert in arithmetic.",
    "You are a math tutor for children.",
    "You are an accountant.",
    "You are an agent that solves problems.",
    "You solve word problems.",
    "You help pupils with their homework.",
    "Act as a patient teacher.",
)
SYSTEM_RULES = (
    "Work step by step.",
    "Show your work.",
    "Be brief.",
    "Be exact and check every number.",
    "Answer in English.",
    "Write one step per paragraph.",
    "End with the final answer.",
    "Put the final answer in a box.",
    "Do not guess.",
    "Call a tool if the problem is long.",
    "You have access to tools.",
    "Never make up facts.",
    "Always be polite.",
    "Today is Monday.",
)
FRAMES = (
    ("Solve this problem: ", ""),
    ("Please solve: ", ""),
    ("Question: ", ""),
    ("Problem: ", ""),
    ("", " Think step by step."),
    ("", "\nPlease reason step by step, and put your final answer within \\boxed{}."),
    ("Here is another one. ", ""),
    ("", " Show your work."),
)
_HELLO = "Hello! Give me an arithmetic word problem, please."
_SELF = "I am a small model that solves arithmetic word problems."
GREETINGS = (
    ("Hello", _HELLO),
    ("Hello!", _HELLO),
    ("Hi", _HELLO),
    ("Hi!", _HELLO),
    ("Hi there", _HELLO),
    ("How are you?", _HELLO),
    ("Good morning!", _HELLO),
    ("Thanks!", "You are welcome."),
    ("Thank you.", "You are welcome."),
    ("Who are you?", _SELF),
    ("What can you do?", _SELF),
)
DELIBERATE_DESCRIPTION = (
    "Solve a hard problem by verifier-guided search. "
    "Use it for problems that take several steps and pass the whole problem."
)
DELIBERATE_DESCRIPTIONS = (
    DELIBERATE_DESCRIPTION,
    DELIBERATE_DESCRIPTION,
    DELIBERATE_DESCRIPTION,
    f"deliberate(problem: str) -> str\n{DELIBERATE_DESCRIPTION}",
    "Solve a hard problem by search. Pass the whole problem.",
    "Think hard about a difficult problem. Use it for problems with many steps.",
    "Searches for the solution of a hard problem, guided by a verifier.",
    "Use this for hard problems. The input is the whole problem, word for word.",
    "Solves a problem that takes several steps of reasoning.",
    "Slow but careful reasoning. Use it only when the problem is hard.",
)
PROBLEM_DESCRIPTIONS = (
    "The whole problem, word for word.",
    "The whole problem, word for word.",
    "The problem to solve.",
    "The full text of the problem.",
    "The question, unchanged.",
)


def _tool(name: str, description: str, /, **fields: str) -> dict[str, Any]:
    properties = {field: {"type": kind} for field, kind in fields.items()}
    parameters = {"properties": properties, "required": list(fields), "type": "object"}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


OTHER_TOOLS = (
    _tool("get_weather", "Get the weather in a city.", city="string"),
    _tool("search", "Search the web for a query.", query="string"),
    _tool("send_email", "Send an email to someone.", to="string", text="string"),
    _tool("get_time", "Tell what time it is in a place.", place="string"),
    _tool("translate", "Translate a text.", text="string", language="string"),
    _tool("book_table", "Book a table in a restaurant.", name="string", people="integer"),
    _tool("play_music", "Play a song.", title="string"),
    _tool("read_file", "Read a file and return its text.", path="string"),
)
UNRELATED = (
    "The library opens at nine and closes at six.",
    "The river runs through the old town and under three bridges.",
    "Please return the keys to the office before you leave.",
    "The museum shows paintings and old maps.",
    "Bread needs flour, water, salt and time.",
    "The bus stops near the station every 15 minutes.",
    "A good night's sleep helps people to remember.",
    "The garden is open to visitors from April to October.",
    "The report was written in 2019 and revised in 2021.",
    "Cats sleep for most of the day.",
    "The meeting takes place in room 12 on the second floor.",
    "Our company was founded in 1987 and makes bicycles.",
    "The mountain is 2962 meters high and covered with snow.",
    "Wash the dishes with warm water.",
    "The new software can be installed with one command.",
    "Light travels faster than sound.",
    "The concert begins at eight in the evening.",
    "Employees may work from home on two days a week.",
    "The train to the coast takes 95 minutes.",
    "Paris is the capital of France.",
    "Water boils at 100 degrees.",
    "The warranty covers repairs for 24 months.",
)
_FOLDERS = ("", "data/", "docs/", "notes/", "/data/", "/home/user/docs/", "./files/", "/tmp/")
_FILES = ("problem", "notes", "facts", "story", "report", "document", "page", "doc", "example")
_ENDINGS = (".txt", ".md", "_1.txt", "_2.txt", "1.md", "2.txt", "-3.txt", "17.txt")


def metadata(rng: random.Random) -> str:
    """Draws metadata lines in the form that LlamaIndex puts above a document."""
    path = rng.choice(_FOLDERS) + rng.choice(_FILES) + rng.choice(_ENDINGS)
    lines = [f"{rng.choice(('file_path', 'file_path', 'file_name', 'source'))}: {path}"]
    if rng.random() < 0.25:
        lines.insert(0, f"page_label: {rng.randint(1, 30)}")
    if rng.random() < 0.15:
        lines.append(f"title: {rng.choice(_FILES)} {rng.randint(1, 99)}")
    return "\n".join(lines)
