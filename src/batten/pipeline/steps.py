"""What is done to the items of a pipeline: the methods that add a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from batten.errors import usage_error
from batten.jobs.batch_api import (
    CONCURRENCY_MAX,
    POLL_SECONDS,
    REQUESTS_MAX,
    make_batch_api,
)
from batten.jobs.step import StepKind, check_count, make_step
from batten.pipeline.table_outputs import TableOutputs
from batten.rows.pandera_schemas import as_check
from batten.work.calling.cached_steps import choose_cache

if TYPE_CHECKING:
    from batten.cache.cache import Cache
    from batten.executors.call_rates import Limits
    from batten.fingerprint.secret import Secret
    from batten.jobs.model_server import ModelServer


class Steps(TableOutputs):
    """A definition, and the methods that give one with a further step."""

    def map(
        self,
        function: Callable[..., Any],
        *,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        concurrency: int | None = None,
        limits: Limits | None = None,
        devices: Sequence[str] | str | int | None = None,
        server: ModelServer | None = None,
        version: str | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
        keep_input: bool = False,
    ) -> Self:
        """Make one row of each item: a dict, a dataclass or a pydantic model.

        A call of an `async def` function never waits for a slower one. Finished calls are put aside
        about every half second.

        Args:
            function: Called with each item, or with what the step before gave. It may be `async
                def`. It may be a class, which each worker constructs once and then calls.
            retries: Further tries after one that failed, with growing pauses; 0 by default. An item
                that failed them all is quarantined.
            retry_on: What is tried again: a class of exceptions, a status of an answer (429), a
                function that takes the exception, or a tuple of these. By default everything but
                what a server refuses for good, such as 401, 404 and 422.
            timeout_seconds: The longest that one try may take, in seconds. Then its worker is
                killed. By default there is no limit.
            concurrency: How many calls are in hand at most. Of an `async def` function they are 100
                by default. Another function gets so many workers of its own. By default the worker
                that has the item calls it.
            limits: How fast an `async def` function may call; by default as fast as it can.
            devices: What the step's own workers compute on, one each: names such as "cuda:0", how
                many GPUs, or "auto" for all that are there. A class gets its own by a parameter
                `device` of `__init__`. By default none is named.
            server: A server of this machine that an `async def` function calls. The run starts and
                ends it. By default there is none.
            version: Stands for values of the function that can't be compared, such as a client. By
                default there are none.
            cache: Keeps what the function returned for an item, also for other jobs. True means the
                user's own cache, a path a cache in that folder. By default nothing is kept.
            keep_input: Give each row the item's own columns, before its own; of two columns of one
                name the function's is taken. The item must be a record: a dict, a dataclass, a
                pydantic model. By default a row has what the function gave.

        Returns:
            A new pipeline with this step at its end.

        Raises:
            UsageError: An argument can't be, or the pipeline has a sink already. Nothing was read
                or written.
        """
        return self._with_step(
            "map",
            function,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            concurrency=concurrency,
            limits=limits,
            devices=devices,
            server=server,
            version=version,
            cache=cache,
            keeps_input=keep_input,
        )

    def flat_map(
        self,
        function: Callable[..., Iterable[Any]],
        *,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        concurrency: int | None = None,
        limits: Limits | None = None,
        devices: Sequence[str] | str | int | None = None,
        server: ModelServer | None = None,
        version: str | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
        keep_input: bool = False,
    ) -> Self:
        """Make any number of rows of each item; all of them carry the item's key.

        Args:
            function: Called with each item, or with what the step before gave. It returns an
                iterable of rows, each as for `map`. An item without rows is counted as filtered.
            retries: Further tries after one that failed; 0 by default.
            retry_on: What is tried again, as for `map`.
            timeout_seconds: The longest that one try may take, in seconds; by default no limit.
            concurrency: How many calls are in hand at most, by default as for `map`.
            limits: How fast an `async def` function may call; by default as fast as it can.
            devices: What the step's own workers compute on, as for `map`. By default none is named.
            server: A server that the run starts and ends, as for `map`. By default there is none.
            version: Stands for values of the function that can't be compared, as for `map`.
            cache: Keeps what the function returned, as for `map`. By default nothing is kept.
            keep_input: Give each row the item's own columns, as for `map`.

        Returns:
            A new pipeline with this step at its end.

        Raises:
            UsageError: An argument can't be, or the pipeline has a sink already. Nothing was read
                or written.
        """
        return self._with_step(
            "flat_map",
            function,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            concurrency=concurrency,
            limits=limits,
            devices=devices,
            server=server,
            version=version,
            cache=cache,
            keeps_input=keep_input,
        )

    def filter(
        self,
        function: Callable[..., Any],
        *,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        concurrency: int | None = None,
        limits: Limits | None = None,
        devices: Sequence[str] | str | int | None = None,
        server: ModelServer | None = None,
        version: str | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
    ) -> Self:
        """Keep the items to which `function` says yes; the others are counted as filtered.

        Args:
            function: Called with each item, or with what the step before gave. What it returns is
                taken as true or false.
            retries: Further tries after one that failed; 0 by default.
            retry_on: What is tried again, as for `map`.
            timeout_seconds: The longest that one try may take, in seconds; by default no limit.
            concurrency: How many calls are in hand at most, by default as for `map`.
            limits: How fast an `async def` function may call; by default as fast as it can.
            devices: What the step's own workers compute on, as for `map`. By default none is named.
            server: A server that the run starts and ends, as for `map`. By default there is none.
            version: Stands for values of the function that can't be compared, as for `map`.
            cache: Keeps what the function returned, as for `map`. By default nothing is kept.

        Returns:
            A new pipeline with this step at its end.

        Raises:
            UsageError: An argument can't be, or the pipeline has a sink already. Nothing was read
                or written.
        """
        return self._with_step(
            "filter",
            function,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            concurrency=concurrency,
            limits=limits,
            devices=devices,
            server=server,
            version=version,
            cache=cache,
        )

    def check(self, function: Callable[..., Any], *, version: str | None = None) -> Self:
        """Let a row pass only if `function` says so; else its item is quarantined.

        Args:
            function: Called with the row, as the step before gave it. The row passes if it returns
                something true, or nothing. A text says why the row does not pass; so does what it
                raises. Or a schema of pandera, which is held against a frame of that one row.
            version: Stands for values of the function that can't be compared, as for `map`.

        Returns:
            A new pipeline with this step at its end.

        Raises:
            UsageError: `function` can't be called, or the pipeline has a sink already. Nothing was
                read or written.
        """
        return self._with_step("check", as_check(function), version=version)

    def check_batches(self, function: Callable[..., Any]) -> Self:
        """Let a batch be published only if `function` says so; else the run ends.

        It changes no row, so it is no part of the fingerprint: batches that are published already
        are not checked again.

        Args:
            function: Called with the `pyarrow.Table` of all rows of a batch, the key column first.
                It answers as that of `check` does. Or a schema of pandera.

        Returns:
            A new pipeline with this check.

        Raises:
            UsageError: `function` can't be called. Nothing was read or written.
        """
        if not callable(as_check(function, of_batch=True)):
            raise usage_error(
                f".check_batches() takes a function, not {type(function).__name__}.",
                "Give the function itself, without calling it.",
            )
        rules = (*self.settings.batch_rules, as_check(function, of_batch=True))
        return replace(self, settings=replace(self.settings, batch_rules=rules))

    def map_batches(
        self,
        function: Callable[..., Any],
        *,
        items: int | None = None,
        tokens_max: int | None = None,
        tokens: Callable[[Any], float] | None = None,
        concurrency: int | None = None,
        devices: Sequence[str] | str | int | None = None,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        version: str | None = None,
    ) -> Self:
        """Make a table of rows of a table of rows: an Arrow table in, an Arrow table out.

        The table holds the rows of consecutive items of the plan. They are always the same items,
        however often the run was killed. When a call fails, its items are tried one by one. When
        it failed for lack of memory, such as a GPU's, halves of its items are tried first.

        Args:
            function: Called with a `pyarrow.Table` that has the key column. Its result must have
                the key column, too, or as many rows as came in.
            items: How many items one call gets; by default a whole batch.
            tokens_max: How many tokens the rows of one call have at most. Items are cut there, too.
                One that has more goes alone. By default there is no limit. It needs `tokens`.
            tokens: Tells how many tokens a row has, from the row as a dict: a number from 0 on. By
                default there is none, and none is needed without `tokens_max`.
            concurrency: How many workers of its own the function gets, and so how many calls are in
                hand at most. By default the worker that has the items calls it.
            devices: What these workers compute on, as for `map`. By default none is named.
            retries: Further tries of a call that failed; 0 by default.
            retry_on: What is tried again, as for `map`.
            timeout_seconds: The longest that one try may take, in seconds; by default no limit.
            version: Stands for values of the function that can't be compared, as for `map`.

        Returns:
            A new pipeline with this step at its end.

        Raises:
            UsageError: An argument can't be, the function is `async def`, or the pipeline has a
                sink already. Nothing was read or written.
        """
        return self._with_step(
            "map_batches",
            function,
            items=items,
            tokens_max=tokens_max,
            tokens=tokens,
            concurrency=concurrency,
            devices=devices,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            version=version,
        )

    def map_batch_api(
        self,
        request_fn: Callable[[Any], dict[str, Any]],
        *,
        parse: Callable[[Any, Any], Any] | None = None,
        base_url: str = "https://api.openai.com/v1",
        api_key: Secret | None = None,
        endpoint: str = "/v1/chat/completions",
        completion_window: str = "24h",
        max_requests: int = REQUESTS_MAX,
        concurrency: int | None = None,
        poll_seconds: float = POLL_SECONDS,
        wait_seconds: float | None = None,
        usage: Callable[[Any], Mapping[str, Any]] | None = None,
        retries: int = 2,
        retry_on: Any = None,
        version: str | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
        keep_input: bool = False,
    ) -> Self:
        """Make one row of each item by a vendor's batch interface, at its price.

        It speaks the protocol of OpenAI's files and batches. No request is handed in twice,
        wherever a run is killed, and what answers used is in the accounts.

        Args:
            request_fn: Called with each item, or with what the step before gave. It returns the
                body of the request, as for the endpoint itself. The same item must give the same
                body each time: by it an answer finds its item in a later run. Or what
                `batten.structured` gives, which reads the answers, too.
            parse: Called with the body of the answer and with what `request_fn` got. It returns the
                row, as for `map`. Its return annotation may be a row class. By default there is
                none: then `batten.structured` has to read the answers.
            base_url: The vendor's address, without a key; by default OpenAI's.
            api_key: The key, as a `batten.Secret`; by default none is sent.
            endpoint: The vendor's path that each request is for; by default that of chat
                completions.
            completion_window: How long the vendor may take, in its own words; "24h" by default.
            max_requests: How many requests go into one batch at most; 50,000 by default.
            concurrency: How many requests are at the vendor at most, in all batches; by default
                as many as one batch has. Each takes some kilobytes of memory.
            poll_seconds: The time between two looks at a batch, in seconds; 60 by default.
            wait_seconds: How long the run waits while the vendor has all that is left, in seconds.
                Then it ends with exit code 75, and a later run collects the answers. 0 waits for
                nothing. By default it waits until all is done.
            usage: Called with the body of each answer. It returns what that used, as
                `batten.usage` takes it. By default the usage of an OpenAI-style answer is read.
            retries: In how many further batches a request is tried that failed; 2 by default.
            retry_on: What is tried again, as for `map`.
            version: Stands for values of the functions that can't be compared, as for `map`.
            cache: Keeps the rows, as for `map`. By default nothing is kept.
            keep_input: Give each row the item's own columns, as for `map`.

        Returns:
            A new pipeline with this step at its end.

        Raises:
            UsageError: An argument can't be, or the pipeline has a sink already. Nothing was read
                or written.
        """
        check_count("max_requests", max_requests, at_least=1)
        in_hand = max_requests if concurrency is None else concurrency
        name = "max_requests" if concurrency is None else "concurrency"
        check_count(name, in_hand, at_least=1, at_most=CONCURRENCY_MAX)
        api = make_batch_api(
            request=request_fn,
            parse=parse,
            base_url=base_url,
            api_key=api_key,
            endpoint=endpoint,
            completion_window=completion_window,
            max_requests=max_requests,
            poll_seconds=poll_seconds,
            wait_seconds=wait_seconds,
            usage=usage,
        )
        return self._with_step(
            "map",
            api.function,
            batch_api=api,
            concurrency=in_hand,
            retries=retries,
            retry_on=retry_on,
            version=version,
            cache=cache,
            keeps_input=keep_input,
        )

    def _with_step(self, kind: StepKind, function: Callable[..., Any], **options: Any) -> Self:
        if self.output is not None:
            raise usage_error(
                f".{kind}() stands after the sink.", f"Put .{kind}() before .write_parquet()."
            )
        options["cache"] = choose_cache(options.get("cache"), self.folder)
        return replace(self, steps=(*self.steps, make_step(kind, function, **options)))
