"""A Flower Grid without processes: the same two apps, the same bytes, one interpreter.

For tests and quick experiments. Messages are taken apart and put together as on the wire. It leans on
Flower's internals in one place (``_identify``), which a test watches.
"""

import os
from collections.abc import Iterable
from copy import deepcopy

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from ..settings.site import SiteSettings
from ..settings.sources import to_flat


class InProcessGrid(Grid):
    """One virtual node per site; a message is answered when it is pulled.

    Attributes:
        sent: every message's bytes as they would go over the wire, in order: (site, direction, bytes).
            Empty with ``keep=False``: the messages of a long run do not fit into memory.
        sizes: how many bytes each of them has: (site, direction, count).
        offline: names of sites that are not there.
    """

    def __init__(
        self, client_app: ClientApp, sites: list[SiteSettings], run_id: int = 1, *, keep: bool = True
    ) -> None:
        _identify(run_id)
        self.keep = keep
        self.client_app = client_app
        self.contexts = {
            node: Context(run_id, node, dict(to_flat(site)), RecordDict(), {})
            for node, site in enumerate(sites, 100)
        }
        self.names = {node: site.site for node, site in enumerate(sites, 100)}
        self.waiting: dict[str, Message] = {}
        self.sent: list[tuple[str, str, bytes]] = []
        self.sizes: list[tuple[str, str, int]] = []
        self.offline: set[str] = set()

    @property
    def run(self) -> Run:
        """Not used by our apps."""
        raise NotImplementedError("the in-process grid has no Flower run")

    def set_run(self, run: Run) -> None:
        """Nothing to set."""

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """As the deprecated method of Flower's Grid."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Nodes whose site is not offline."""
        return [node for node, name in self.names.items() if name not in self.offline]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages; returns their ids in order."""
        ids = []
        for message in messages:
            copy = self._over_the_wire(message, self.names[message.metadata.dst_node_id], "down")
            self.waiting[copy.metadata.message_id] = copy
            ids.append(copy.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Let each node answer its message."""
        replies = []
        for message_id in list(message_ids):
            message = self.waiting.pop(message_id, None)
            if message is not None:
                node = message.metadata.dst_node_id
                replies.append(self._over_the_wire(self._answer(message, node), self.names[node], "up"))
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then pull."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message, node: int) -> Message:
        context = deepcopy(self.contexts[node])
        os.environ["PFEDSAM_IN_PROCESS"] = "1"
        try:
            reply = self.client_app(message, context)
        except Exception as error:  # as Flower's SuperNode does
            reason = f"{type(error)}:<'{error}'>"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
        finally:
            os.environ.pop("PFEDSAM_IN_PROCESS", None)
        self.contexts[node] = context
        return reply

    def _over_the_wire(self, message: Message, site: str, direction: str) -> Message:
        message_id = message.object_id
        contents = {key: one.deflate() for key, one in get_all_nested_objects(message).items()}
        self.sizes.append((site, direction, sum(map(len, contents.values()))))
        if self.keep:
            self.sent.append((site, direction, b"".join(contents.values())))
        copy = inflate_object_from_contents(message_id, contents)
        assert isinstance(copy, Message)
        copy.metadata.__dict__["_message_id"] = message_id
        return copy


def _identify(run_id: int) -> None:
    """Flower refuses to make a Message outside a task; these are the three numbers it asks for."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 1, 0
