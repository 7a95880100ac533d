"""One HTTP connection: ClickHouse's query interface, request after request.

A request is read, run and answered by one thread with blocking calls. The engine releases
the interpreter lock while it works, so threads do run side by side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploy.localstack.clickhouse.body import Body
from deploy.localstack.clickhouse.engine import Session
from deploy.localstack.clickhouse.execution import execute, read_all
from deploy.localstack.clickhouse.external import load_external_tables, without_table_parameters
from deploy.localstack.clickhouse.faults import ClickHouseError
from deploy.localstack.clickhouse.form import Form, is_form, read_form
from deploy.localstack.clickhouse.reply import Reply
from deploy.localstack.clickhouse.request import READ_ONLY_USERS, Request, read_request

if TYPE_CHECKING:
    from deploy.localstack.clickhouse.server import ClickHouseHttpServer

_NO_FORM = Form({}, {})


class ClickHouseHandler(BaseHTTPRequestHandler):
    """Serves `/ping`, `/replicas_status` and the query interface at `/`."""

    protocol_version = "HTTP/1.1"
    server_version = "MeterlineLocalStack"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = 900
    server: ClickHouseHttpServer

    def do_GET(self) -> None:
        """Serve a GET: reads only."""
        self._serve()

    def do_POST(self) -> None:
        """Serve a POST."""
        self._serve()

    def log_message(self, *_: object) -> None:
        """Say nothing: the program that sent the request tells what went wrong."""

    def _serve(self) -> None:
        with self.server.counting_requests():
            body = Body(self.rfile, self.headers)
            reply = Reply(self, timezone=self.server.engine.timezone)
            path = urlsplit(self.path).path
            try:
                if path == "/":
                    self._serve_query(body, reply)
                elif path in {"/ping", "/replicas_status"}:
                    reply.say("Ok.\n")
                else:
                    reply.say(f"There is no handle {path}\n", HTTPStatus.NOT_FOUND)
                body.skip()
                self.wfile.flush()
            except ConnectionError:
                self.close_connection = True

    def _serve_query(self, body: Body, reply: Reply) -> None:
        query_id = ""
        try:
            form = read_form(self.headers, read_all(body)) if is_form(self.headers) else _NO_FORM
            request = read_request(
                method=self.command,
                target=without_table_parameters(self.path, form),
                headers=self.headers,
                fields=form.fields,
            )
            query_id = request.query_id
            with self._session(request, form) as session:
                execute(session, request, body=body, reply=reply)
        except ClickHouseError as failure:
            # What is left of the body is read first: closing on it would destroy the answer.
            body.skip()
            reply.fail(failure, version=self.server.engine.version, query_id=query_id)

    @contextlib.contextmanager
    def _session(self, request: Request, form: Form) -> Iterator[Session]:
        """Open a session as the request wants it; what makes it read-only comes last."""
        settings = dict(request.settings)
        readonly = settings.pop("readonly", "0")
        if request.is_get and readonly == "0":
            readonly = "2"
        with self.server.engine.session() as session:
            if request.database:
                session.use_database(request.database)
            session.set_parameters(request.parameters)
            load_external_tables(session, self.path, form)
            if request.user in READ_ONLY_USERS:
                # Before the settings: this user may not change any, as on a real server.
                session.change_settings({"readonly": "1"})
                readonly = "0"
            session.change_settings(settings)
            if readonly != "0":
                session.change_settings({"readonly": readonly})
            yield session
