"""Which replica answers: a session's own, or the one with the fewest requests."""

import hashlib
import random

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica


class SessionRouter(RequestRouter):
    """Sends the requests of a session to one replica, whose prefix cache holds its conversation.

    The session is what Serve reads from the header `x-session-id` (its variable
    `RAY_SERVE_SESSION_ID_HEADER_KEY` names another). Its replica is the one of the greatest hash of
    session and replica (rendezvous hashing: Thaler and Ravishankar, 1998): every proxy finds the
    same one, and a replica that comes or goes moves its own sessions alone. Where it is full, and
    for requests without a session, the replica with the fewest requests answers. No result depends
    on the choice.
    """

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Ranks replicas; of each rank, Serve takes the one with the fewest requests.

        Args:
            candidate_replicas: The replicas that run.
            pending_request: The request; None for any.
        """
        # In random order: proxies that do not see each other's requests choose unlike among equals.
        replicas = random.sample(candidate_replicas, len(candidate_replicas))
        if pending_request is None:
            return [replicas]
        pending_request.routing_context.should_backoff = True  # where all of them are full
        session = pending_request.metadata.session_id
        if not session or not replicas:
            return [replicas]
        home = max(replicas, key=lambda one: _weight(session, one.replica_id.unique_id))
        return [[home], [one for one in replicas if one is not home]]


def _weight(session: str, replica: str) -> bytes:
    """The same in every process, which Python's own hash is not."""
    name = f"{len(replica)} {replica} {session}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(name, digest_size=16).digest()
