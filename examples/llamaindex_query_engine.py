"""A LlamaIndex query engine over documents on disk whose answers come from a search.

Run it with `python examples/llamaindex_query_engine.py`. For each question BM25 finds the document
with the facts, and the bundled model searches for the answer in it. Nothing is downloaded. The
variables FASTTTS_GENERATOR and FASTTTS_VERIFIER name other models; a generator without a verifier
judges itself.
"""

from pathlib import Path

from llama_index.core import Settings, SimpleDirectoryReader
from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.retrievers.bm25 import BM25Retriever  # type: ignore[import-untyped]  # ships no types

from fasttts import FastTTS as Engine
from fasttts.config import engine_config
from llama_index.llms.fasttts import FastTTS

DOCUMENTS = Path(__file__).parent / "documents"
QUESTIONS = (
    "How many pencils does Max have in the end?",
    "How many marbles do the market and Mia have together?",
    "How many crates does Hugo fill?",
)


def main() -> None:
    with Engine.load(verifier=engine_config().verifier or "judge") as engine:
        query_engine = build(engine)
        for question in QUESTIONS:
            before = engine.usage.generated_tokens
            show(question, ask(query_engine, question))
            print(f"  {engine.usage.generated_tokens - before:,} tokens", end="\n\n")


def build(engine: Engine, folder: Path = DOCUMENTS) -> RetrieverQueryEngine:
    """Makes a query engine over the text files of a folder, one node each."""
    Settings.tokenizer = engine.tokenizer.encode
    reader = SimpleDirectoryReader(
        folder, file_metadata=lambda path: {"file_name": Path(path).name}
    )
    documents = reader.load_data()
    retriever = BM25Retriever.from_defaults(nodes=documents, similarity_top_k=1)
    llm = FastTTS(engine=engine, search="beam_search", n=16, beam_width=4, max_tokens=400)
    return RetrieverQueryEngine.from_args(retriever, llm=llm)


def ask(query_engine: RetrieverQueryEngine, question: str) -> Response:
    """Answers a question, with the nodes used."""
    response = query_engine.query(question)
    assert isinstance(response, Response)
    return response


def show(question: str, response: Response) -> None:
    print(question)
    print("\n".join(f"    {line}" for line in str(response).splitlines() if line))
    for source in response.source_nodes:
        name, text = source.node.metadata["file_name"], source.node.get_content().strip()
        print(f"  from {name} (BM25 {source.score:.2f}): {text}")


if __name__ == "__main__":
    main()
