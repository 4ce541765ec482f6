"""Options of traces, for applications that have set OpenTelemetry up."""

from pydantic import BaseModel, ConfigDict


class TracingConfig(BaseModel):
    """Options of traces; none decides about a result.

    Attributes:
        steps: Whether each step of a search, and each batch of the verifier that scored some, is a
            span below the request's.
        openinference: Whether spans have OpenInference's attributes as well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: bool = False
    openinference: bool = False
