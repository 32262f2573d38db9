"""RedisClient: one connection to Redis, scripts, and Redis's errors as ours.

Theory of operation
    redis-py with its retries off: a call either works, or says within `socket_timeout_s` that it does not, and the
    caller decides. Commands go in pipelines without MULTI; each command that must be atomic is one script. After
    Redis was restarted it has forgotten the scripts: those commands of a pipeline that found none are repeated, in
    order, once they are loaded again.

Source: the prefixes of error replies are those of Redis's server.c (createSharedObjects).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pystorm.errors import ConfigError, InternalError, StateUnavailable

#: Long enough for a Redis that is busy or forks, short enough that a dead one is noticed before users are.
DEFAULT_TIMEOUT_S = 5.0

#: error replies after which the same call may succeed later, as redis-py has them
_RETRYABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
#: the same where redis-py sees only "error": Redis 6 puts a script's error in the middle of the text
_RETRYABLE_WORDS = (
    "OOM command not allowed",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "MASTERDOWN",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "BUSY ",
)
_LOGIN = ("NOAUTH", "WRONGPASS", "invalid username-password", "without any password configured")

#: a command of a pipeline
Command = tuple[Any, ...]


class Script:
    """A Lua script and the number of its keys."""

    __slots__ = ("digest", "keys", "source")

    def __init__(self, source: str, keys: int) -> None:
        self.source = source
        self.keys = keys
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, *keys_and_args: Any) -> Command:
        """The command that runs it: keys first, then arguments."""
        return ("EVALSHA", self.digest, self.keys, *keys_and_args)


class RedisClient:
    """One connection, made at first use.

    Args:
        config: {"url": "redis://..."} or {"unix_socket_path": "..."}.
    Raises:
        ConfigError: the map or the URL is wrong.
    """

    def __init__(self, config: Mapping[str, Any], scripts: Sequence[Script], *, socket_timeout_s: float) -> None:
        self._scripts = scripts
        options: dict[str, Any] = {
            "socket_timeout": socket_timeout_s,
            "socket_connect_timeout": socket_timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        self.address, self._redis = _connect(config, options)

    def call(self, *command: Any) -> Any:
        """One command and its reply; errors as in `pipeline`, and InternalError for any other error reply."""
        return self.pipeline([command])[0]

    def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to all commands, sent together.

        Raises:
            StateUnavailable: no connection, or Redis cannot write now.
            ConfigError: Redis does not let us in.
            InternalError: any other error reply.
        """
        replies = self.outcomes(commands)
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                raise InternalError(f"Redis at {self.address} answered: {reply}") from reply
        return replies

    def outcomes(self, commands: Sequence[Command]) -> list[Any]:
        """As `pipeline`, but error replies that only the caller can judge stay in the list, as redis.ResponseError."""
        replies = self._send(commands)
        missing = [index for index, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
        if missing:
            self._send([("SCRIPT", "LOAD", script.source) for script in self._scripts])
            again = self._send([commands[index] for index in missing])
            for index, reply in zip(missing, again, strict=True):
                replies[index] = reply
        for reply in replies:
            if isinstance(reply, redis.RedisError):
                translated = self._translated(reply)
                if translated is not reply:
                    raise translated from reply
        return replies

    def close(self) -> None:
        """Give up the connection; a later call makes a new one."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        try:
            # execute_command is redis-py's untyped way in; the named methods would turn replies into other things.
            pipe = self._redis.pipeline(transaction=False)
            pipe.response_callbacks = {}
            for command in commands:
                pipe.execute_command(*command)
            replies: list[Any] = pipe.execute(raise_on_error=False)
            return replies
        except redis.RedisError as error:
            raise self._translated(error) from error
        except OSError as error:
            raise self.unavailable(str(error)) from error

    def _translated(self, error: redis.RedisError) -> Exception:
        text = str(error)
        if isinstance(error, redis.AuthenticationError) or any(mark in text for mark in _LOGIN):
            return ConfigError(
                f"Redis at {self.address} refuses the login: {text}",
                hint="put the right user and password into the url: redis://user:password@host:6379/0",
            )
        if isinstance(error, redis.exceptions.NoPermissionError) or "NOPERM" in text:
            return ConfigError(
                f"Redis at {self.address} forbids what checkpoints need: {text}",
                hint="the user needs `ACL SETUSER <name> ~pystorm:* +@all -@admin -@dangerous`",
            )
        if isinstance(error, redis.exceptions.MovedError) or "CROSSSLOT" in text:
            return ConfigError(f"Redis at {self.address} is a Redis Cluster ({text})", hint="use a plain Redis")
        if "DB index is out of range" in text:
            return ConfigError(f"Redis at {self.address}: {text}", hint="use a database number that it has, say 0")
        if isinstance(error, _RETRYABLE) or any(word in text for word in _RETRYABLE_WORDS):
            return self.unavailable(text)
        if isinstance(error, redis.ResponseError):
            return error  # the caller knows
        return InternalError(f"Redis at {self.address}: {type(error).__name__}: {text}")

    def unavailable(self, why: str) -> StateUnavailable:
        """The error for a Redis that cannot be used now."""
        return StateUnavailable(f"Redis at {self.address} is not available: {why}")


def _connect(config: Mapping[str, Any], options: dict[str, Any]) -> tuple[str, Any]:
    known = ("url", "unix_socket_path")
    for key in config:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            raise ConfigError(
                f"topology.state.provider.config: unknown key {key!r}",
                hint=f"did you mean {near[0]!r}?" if near else "known are: url, unix_socket_path",
            )
    if len(config) != 1:
        raise ConfigError(
            f"topology.state.provider.config: needs url or unix_socket_path, got {sorted(config) or 'none'}",
            hint='say {url: "redis://localhost:6379/0"}',
        )
    if "unix_socket_path" in config:
        path = str(config["unix_socket_path"])
        return path, redis.Redis(unix_socket_path=path, **options)
    return _connect_url(config["url"], options)


def _connect_url(url: Any, options: dict[str, Any]) -> tuple[str, Any]:
    hint = "say redis://[user:password@]host[:port][/db], rediss://... with TLS, or unix:///path/to.sock"
    if not isinstance(url, str):
        raise ConfigError(f"topology.state.provider.config: url must be text, got {url!r}", hint=hint)
    try:
        pool = redis.ConnectionPool.from_url(url, **options)
    except ValueError as error:
        raise ConfigError(
            f"topology.state.provider.config: bad url {without_password(url)!r}: {error}", hint=hint
        ) from error
    # A query in the url wins over our options in redis-py; these two are not the user's to change.
    pool.connection_kwargs.update(decode_responses=False, protocol=2)
    client: Any = redis.Redis(connection_pool=pool)
    return without_password(url), client


def without_password(url: str) -> str:
    """The URL as it may be shown.

    >>> without_password("redis://me:secret@host:6379/0")
    'redis://me:***@host:6379/0'
    """
    scheme, separator, rest = url.partition("://")
    login, at, host = rest.rpartition("@")
    if not at:
        return url
    user = login.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{host}"
