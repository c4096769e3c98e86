"""OAuth in front of a server of Google Cloud Storage that requires no credentials."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.servers import LOOPBACK

SERVICE_ACCOUNT = "cordial-tests@sandbox.iam.gserviceaccount.com"

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_HOP_BY_HOP = {"authorization", "connection", "content-length", "transfer-encoding"}


def service_account_key(token_uri: str) -> tuple[dict[str, str], str]:
    """Create a key of the service account: the content of its JSON file, and its public half."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = {"type": "service_account", "project_id": "sandbox", "private_key_id": "1", "client_id": "1"}
    record |= {"private_key": private.decode(), "client_email": SERVICE_ACCOUNT, "token_uri": token_uri}
    return record, public.decode()


@contextmanager
def oauth_gateway(port: int, upstream: int) -> Iterator[dict[str, str]]:
    """Forward requests with a token, and issue one for a service account's signature; yield its key."""
    key, public_key = service_account_key(f"http://{LOOPBACK}:{port}/token")
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    started = threading.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(_serve(port, upstream, public_key, started.set, stop))
    )
    thread.start()
    try:
        assert started.wait(30)
        yield key
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(port: int, upstream: int, public_key: str, ready: Any, stop: asyncio.Event) -> None:
    import aiohttp
    import jwt
    from aiohttp import web

    tokens: set[str] = set()

    async def issue_token(request: web.Request) -> web.Response:
        form = await request.post()
        try:
            claims = jwt.decode(
                str(form.get("assertion")), public_key, algorithms=["RS256"], options={"verify_aud": False}, leeway=60
            )
        except jwt.InvalidTokenError as error:
            return web.json_response({"error": "invalid_grant", "error_description": str(error)}, status=400)
        if form.get("grant_type") != _GRANT or claims.get("iss") != SERVICE_ACCOUNT:
            return web.json_response({"error": "invalid_grant"}, status=400)
        token = secrets.token_urlsafe(32)
        tokens.add(token)
        return web.json_response({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    async def forward(request: web.Request) -> web.Response:
        # The address of a resumable upload is itself a secret.
        if "upload_id" not in request.query and request.headers.get("Authorization", "")[7:] not in tokens:
            error = {"code": 401, "message": "Invalid Credentials"}
            return web.json_response({"error": error}, status=401)
        async with session.request(
            request.method,
            f"http://{LOOPBACK}:{upstream}{request.raw_path}",
            headers={name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP},
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    application = web.Application(client_max_size=1 << 30)
    application.router.add_post("/token", issue_token)
    application.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(application, shutdown_timeout=1)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, port).start()
        ready()
        await stop.wait()
        await runner.cleanup()
