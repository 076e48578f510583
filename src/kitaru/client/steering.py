"""Acting on executions: go on with them, answer them, replay, cancel and delete them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, overload

from kitaru.client.answering import WaitList, parse_answer
from kitaru.client.lookup import Lookup
from kitaru.client.models import Execution, UserValue
from kitaru.errors import KitaruUsageError

ExecutionList = list[Execution]


class Steering(Lookup):
    """What `client.executions` can do to executions. What runs code runs it in this process."""

    def retry(self, exec_id: str) -> Execution:
        """Continue a failed execution in this process, in the background.

        Recorded calls are not repeated; the calls that failed run again.

        Raises:
            KitaruStateError: It has not failed.
        """
        from kitaru import worker

        record = self._find(exec_id)
        worker.retry_execution(record.id, where=self._connection.settings)
        return self.get(record.id)

    def pending_waits(self, exec_id: str) -> WaitList:
        """Return the questions of an execution that are open, the one asked first first."""
        return self._answering.pending(self._find(exec_id))

    def input(self, exec_id: str, *, wait: str, value: UserValue, via: str = "client") -> Execution:
        """Answer an open question, so that the execution goes on wherever someone can run it.

        Args:
            exec_id: Which execution.
            wait: The wait's name or id.
            value: The answer: a JSON value, or what pydantic makes one of. A gate takes None.
            via: From where the answer comes, for the record.

        Durability: one transaction; the first answer counts.

        Raises:
            KitaruWaitValidationError: The answer does not fit the schema; the wait stays open.
            KitaruStateError: There is no such open wait, several go by the name, or someone was faster.
            KitaruUsageError: The answer is no JSON value.
        """
        record = self._find(exec_id)
        self._answering.answer(record.id, wait, value, via=via)
        return self.get(record.id)

    def parse_answer(self, text: str) -> UserValue:
        """Return an answer that was typed as JSON.

        Raises:
            KitaruUsageError: It is no JSON.
        """
        return parse_answer(text)

    def abort_wait(self, exec_id: str, *, wait: str, via: str = "client") -> Execution:
        """Abort an open question: the flow gets `KitaruWaitAbortedError`, which it may catch.

        Raises:
            KitaruStateError: There is no such open wait, several go by the name, or someone was faster.
        """
        record = self._find(exec_id)
        self._answering.abort(record.id, wait, via=via)
        return self.get(record.id)

    def resume(self, exec_id: str) -> Execution:
        """Continue an execution in this process, in the background, that waits for nothing any more.

        An answer makes an execution go on by itself wherever someone can run it; this is for when
        nobody does.

        Raises:
            KitaruStateError: It still waits, it runs, or it has finished.
        """
        from kitaru import worker

        record = self._find(exec_id)
        worker.resume_execution(record.id, where=self._connection.settings)
        return self.get(record.id)

    def replay(
        self,
        exec_id: str,
        *,
        from_: str | None = None,
        at: str | None = None,
        overrides: Mapping[str, UserValue] | None = None,
        code: Literal["current", "recorded"] = "current",
        **flow_inputs: UserValue,
    ) -> Execution:
        """Start a new execution here from an old one's record, and return the new one.

        The flow is the one that the old execution ran, as its code is now. `Flow.replay` says what runs
        again.

        Raises:
            KitaruNotFoundError: There is no such execution, or its flow cannot be found here.
            KitaruStateError: It is running, or a selector means no call or several.
            KitaruUsageError: An override or an input is not acceptable, or this process is connected to
                another store than this client.
        """
        from kitaru import settings, worker

        # A flow's options and inputs come with the settings of the process that it runs in.
        if self._connection.settings.store_url != settings.current().store_url:
            message = (
                f"a replay of {exec_id!r} runs in this process, whose settings name another store than"
                f" this client's. Call `kitaru.connect(…)` first, and replay with `KitaruClient()`."
            )
            raise KitaruUsageError(message)
        record = self._find(exec_id)
        started = worker.replay_execution(
            record.id, from_=from_, at=at, overrides=overrides, code=code, flow_inputs=flow_inputs
        )
        return self.get(started)

    @overload
    def recover(self, exec_id: str) -> Execution: ...

    @overload
    def recover(self, exec_id: None = None) -> ExecutionList: ...

    def recover(self, exec_id: str | None = None) -> Execution | ExecutionList:
        """Continue interrupted executions in this process, in the background.

        Args:
            exec_id: Only this one; all of them if not given.
        """
        if exec_id is not None:
            return self.recover_one(exec_id)
        from kitaru import worker

        return [self.get(record.id) for record in worker.recover(where=self._connection.settings)]

    def recover_one(self, exec_id: str) -> Execution:
        """Continue one interrupted execution in this process, in the background."""
        from kitaru import worker

        record = self._find(exec_id)
        worker.recover([record.id], where=self._connection.settings)
        return self.get(record.id)

    def cancel(self, exec_id: str) -> Execution:
        """Ask for an execution and its children to be cancelled.

        One that is not running is cancelled at once; a running one when its runner notices, which is
        at once in this process and within seconds in another.

        Raises:
            KitaruStateError: It has finished.
        """
        from kitaru import worker

        found = self._find(exec_id).id
        return self.get(worker.cancel_execution(found, where=self._connection.settings).id)

    def delete(self, exec_id: str) -> None:
        """Remove a finished execution with its journal, logs and artifacts, and its children.

        Raises:
            KitaruStateError: It, a child, or an execution that it is a part of has not finished.
        """
        from kitaru import worker

        found = self._find(exec_id).id
        self._connection.store.delete_execution(found)
        worker.runner_log(self._connection.settings, found).unlink(missing_ok=True)
