"""The generator's slots: which sequence decodes which node of which search."""

import collections
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence

from fasttts.errors import BackendError, CapacityError
from fasttts.interfaces import GenerationOutput, Generator, set_draft_tokens
from fasttts.scheduling.drafting import DraftTokens
from fasttts.scheduling.recovery import retrying
from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node

logger = logging.getLogger(__name__)

Owner = tuple[SearchRun, Node]
Occupancy = dict[SearchRun, tuple[int, int]]
"""The required and the speculative sequences of each search in the generator."""

_NUM_STARTING = 2
"""Iterations behind a start in which a whole prompt may be computed; vLLM overlaps two."""


class Slots:
    """The sequences in the generator and their owners.

    Args:
        generator: Decodes; nobody else adds or aborts its requests.
        num_slots: Sequences that may run together.
    """

    def __init__(self, generator: Generator, num_slots: int) -> None:
        self.num_slots = num_slots
        self._generator = generator
        self._owners: dict[str, Owner] = {}
        self._fresh: dict[str, int] = {}
        """Prompt tokens of the sequences that have no token yet."""
        self._num_decoded = 0
        """Iterations since a sequence was started."""
        self._told: DraftTokens | None = None
        """What the generator was told to draft last."""
        self._unaborted: set[str] = set()
        """Sequences without an owner that the generator failed to abort."""
        self._retrying = retrying(self._add_again)
        self._request_ids = (f"seq-{number}" for number in itertools.count())

    def __len__(self) -> int:
        return len(self._owners)

    def __iter__(self) -> Iterator[Owner]:
        return iter(self._owners.values())

    @property
    def num_free(self) -> int:
        """Slots without a sequence."""
        return self.num_slots - len(self._owners) - len(self._unaborted)

    @property
    def is_steady(self) -> bool:
        """Whether the last iteration computed one token of each sequence, as far as is known here.

        A prompt is computed in the first iteration behind a start, or in the next one where those
        overlap. Where it goes on longer, it is a token at a time.
        """
        return not self._fresh or self._num_decoded > _NUM_STARTING

    @property
    def has_sequences(self) -> bool:
        """Whether the generator has anything to decode, be it without an owner."""
        return bool(self._owners or self._unaborted)

    def speculative(self) -> list[Node]:
        """Lists the nodes that run speculatively."""
        return [node for _, node in self._owners.values() if not node.is_attached]

    def by_request(self) -> dict[str, bool]:
        """Lists all sequences by request, and whether each is needed or speculative."""
        return {request_id: node.is_attached for request_id, (_, node) in self._owners.items()}

    def start(self, run: SearchRun, node: Node) -> None:
        """Decodes a node, from its last token on.

        Args:
            run: The search.
            node: The node.

        Raises:
            BackendError: The generator refused it; nothing was started.
        """
        request_id = next(self._request_ids)
        request = run.request_for(node, request_id)
        self._generator.add(request)
        run.started(node, request_id)
        self._owners[request_id] = (run, node)
        self._fresh[request_id] = len(request.prompt_token_ids)
        self._num_decoded = 0

    def decode(self, draft_tokens: DraftTokens | None = None) -> list[GenerationOutput]:
        """Runs an iteration of the generator; adds sequences again after a retryable failure.

        Args:
            draft_tokens: What sequences are drafted at most; None for a generator that cannot.

        Raises:
            CapacityError: It is out of memory.
            BackendError: It failed, in whatever way.
        """
        self._num_decoded += 1
        try:
            if draft_tokens is not None and draft_tokens != self._told:
                self._told = draft_tokens
                set_draft_tokens(self._generator, *draft_tokens)
            for attempt in self._retrying:
                with attempt:
                    return self._generator.step()
        except BackendError:
            raise
        except MemoryError as error:
            message = f"the generator is out of memory: {error}: lower slots or max_model_len"
            raise CapacityError(message, role="generator") from error
        except BaseException as error:  # a generator may be a user's class and raise anything
            message = f"the generator failed: {type(error).__name__}: {error}"
            raise BackendError(message, role="generator") from error
        raise AssertionError("an attempt returns or raises")

    def _add_again(self) -> None:
        """Adds all sequences again to the generator, which lost them, from their last tokens on.

        Raises:
            BackendError: The generator refused one; the others are not started either.
        """
        lost = self._owners
        self._owners, self._fresh = {}, {}
        for run, node in lost.values():
            run.stopped(node)
        self._generator.abort(list(lost))
        self._told = None  # it may have begun anew, without drafts
        for run, node in lost.values():
            self.start(run, node)

    def owner(self, output: GenerationOutput) -> Owner | None:
        """Returns the owner of an output; None where its sequence has been aborted meanwhile.

        Counts the prompt of a sequence with its first token: of one that was aborted before, nobody
        knows how much was computed.
        """
        request_id = output.request_id
        if self._unaborted and output.is_finished:
            self._unaborted.discard(request_id)
        owner = self._owners.get(request_id)
        num_prompt_tokens = self._fresh.pop(request_id, None)
        if owner is not None and num_prompt_tokens is not None:
            owner[0].counts.requested_tokens += num_prompt_tokens
            owner[0].counts.cached_tokens += output.num_cached_tokens
        return owner

    def hand_on(self, node: Node, child: Node) -> None:
        """Lets the sequence of an ended node continue as its first child.

        Args:
            node: The ended node.
            child: Its child 0.
        """
        assert node.request_id is not None
        request_id = node.request_id
        run, _ = self._owners[request_id]
        run.stopped(node)
        run.started(child, request_id)
        self._owners[request_id] = (run, child)

    def release(self, node: Node, *, is_finished: bool) -> None:
        """Removes an ended node's sequence.

        Args:
            node: The node.
            is_finished: Whether the generator has already ended the sequence.
        """
        if is_finished:
            self._forget(node)
        else:
            self.abort([node])

    def abort(self, nodes: Iterable[Node]) -> None:
        """Aborts sequences; their nodes keep the tokens they have.

        A generator that fails to abort is asked again with the next ones.
        """
        request_ids = [self._forget(node) for node in nodes if node.request_id is not None]
        if not request_ids:
            return
        request_ids += self._unaborted
        try:
            self._generator.abort(request_ids)
            self._unaborted.clear()
        except BaseException:  # a generator may be a user's class and raise anything
            is_first = not self._unaborted
            logger.warning("the generator failed to abort %s", request_ids, exc_info=is_first)
            self._unaborted.update(request_ids)

    def abort_run(self, run: SearchRun) -> None:
        """Aborts all sequences of a search."""
        self.abort([node for owner, node in self._owners.values() if owner is run])

    def occupancy(self) -> Occupancy:
        """Counts the required and the speculative sequences of each search in the generator."""
        owners = self._owners.values()
        total = collections.Counter([run for run, _ in owners])
        ahead = collections.Counter([run for run, node in owners if not node.is_attached])
        return {run: (number - ahead[run], ahead[run]) for run, number in total.items()}

    def check_integrity(self, runs: Sequence[SearchRun]) -> None:
        """Recounts the slots against the searches and the generator.

        Raises:
            AssertionError: A sequence has no owner or a node refers to a sequence that does not
                run.
        """
        num_unfinished = len(self._owners) + len(self._unaborted)
        assert self._generator.num_unfinished() == num_unfinished <= self.num_slots
        for request_id, (_, node) in self._owners.items():
            assert node.request_id == request_id, f"{node.path} is not decoded by {request_id}"
        decoded = [node for run in runs for node in run.nodes() if node.request_id is not None]
        assert len(decoded) == len(self._owners)

    def _forget(self, node: Node) -> str:
        assert node.request_id is not None
        request_id = node.request_id
        run, _ = self._owners.pop(request_id)
        run.stopped(node)
        self._fresh.pop(request_id, None)
        return request_id
