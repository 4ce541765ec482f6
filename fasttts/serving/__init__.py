"""An engine behind an OpenAI-compatible server; needs the extra `serve`."""

try:
    import fastapi  # noqa: F401, the packages of the extra come together
    import openai  # noqa: F401, as above
    import prometheus_client  # noqa: F401, as above
    import uvicorn  # noqa: F401, as above
except ImportError as error:
    raise ImportError("pip install 'fasttts[serve]' for the server") from error

from fasttts.serving.app import make_app
from fasttts.serving.server import serve

__all__ = ["make_app", "serve"]
