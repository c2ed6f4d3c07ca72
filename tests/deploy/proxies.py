"""The reverse-proxy snippets of deploy/ as they stand, before a real server: a whole call through nginx, and its own TLS.

Needs nginx and openssl; with caddy installed its snippet is checked too. Names, ports and paths of the snippets are
replaced by ones that a user without rights may use, nothing else.
"""

import concurrent.futures
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/sdk"))

from harness import Checks, Installation, Process, free_port, run, wait_until  # noqa: E402

PHONE = "+12025550143"
DEPLOY = ROOT / "deploy"
check = Checks()


def certificate(folder, name):
    """A certificate for localhost that is its own root, and its key."""
    config = folder / "openssl.cnf"
    config.write_text(
        "[req]\ndistinguished_name=name\nprompt=no\nx509_extensions=leaf\n[name]\nCN=localhost\n"
        "[leaf]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n"
    )
    cert, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-config", config, "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )
    return cert, key


def nginx_folder(folder, server_port, tls_port, cert, key):
    """The snippets with other names, ports and paths; every replacement must find what it replaces."""
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in [
        ("server 127.0.0.1:3000;", f"server 127.0.0.1:{server_port};"),
        ("    listen [::]:80;\n", ""),
        ("    listen [::]:443 ssl;\n", ""),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{tls_port} ssl;"),
        ("heartvoice.example.org", "localhost"),
        ("/etc/ssl/heartvoice/fullchain.pem", str(cert)),
        ("/etc/ssl/private/heartvoice.pem", str(key)),
        ("/var/log/nginx/heartvoice.log", str(folder / "access.log")),
        ("/etc/nginx/snippets/heartvoice-proxy.conf", str(DEPLOY / "nginx-proxy.conf")),
    ]:
        if old not in text:
            raise SystemExit(f"FAIL nginx.conf has no {old!r}")
        text = text.replace(old, new)
    (folder / "heartvoice.conf").write_text(text)
    kinds = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    main = f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\ndaemon off;\nevents {{}}\nhttp {{\n{kinds}\ninclude {folder}/heartvoice.conf;\n}}\n"
    (folder / "main.conf").write_text(main)
    return folder / "main.conf"


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def raw(port, cert, request):
    """Bytes sent over TLS as they are, because ordinary clients tidy paths up; what comes back first."""
    context = ssl.create_default_context(cafile=str(cert))
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname="localhost") as stream:
        stream.sendall(request)
        return stream.recv(65536).decode(errors="replace")


def telephone(name, place, port, cert):
    """One whole call with real audio over https and wss."""
    caller = run(
        "simulate", "call", "--to", f"https://localhost:{port}/twilio/voice", "--from", PHONE, "--scenario", "hangs-up-early",
        "--status-callback", f"https://localhost:{port}/twilio/status", directory=place.directory, seconds=60, SSL_CERT_FILE=str(cert),
    )
    check.want(f"{name}: a call and its media socket go through", caller.returncode == 0, caller.stderr + caller.stdout)
    calls = wait_until(lambda: [c for c in place.query("call", "list") if c["outcome"] != "in_progress"], 20, "the call to be stored")
    check.want(f"{name}: the call is complete", calls[0]["outcome"] == "completed", calls[0])


def behind_nginx():
    with Installation() as place:
        folder = pathlib.Path(place.directory) / "edge"
        folder.mkdir(mode=0o755)
        cert, key = certificate(folder, "proxy")
        tls_port = free_port()
        main = nginx_folder(folder, place.port, tls_port, cert, key)
        if os.geteuid() == 0:
            # Its workers run as another user, who must reach the folder of this check.
            main.write_text("user root;\n" + main.read_text())
        tested = subprocess.run(["nginx", "-t", "-p", folder, "-c", main, "-e", folder / "error.log"], capture_output=True, text=True)
        check.want("nginx accepts the snippet", tested.returncode == 0, tested.stderr)
        place.add_patient(phone=PHONE)
        proxied = {"PUBLIC_BASE_URL": f"https://localhost:{tls_port}", "BEHIND_PROXY": "true", "TRUSTED_PROXIES": "127.0.0.1"}
        with place.serve(HEARTVOICE_ENV="production", **proxied):
            proxy = subprocess.Popen(["nginx", "-p", folder, "-c", main, "-e", folder / "error.log"], stderr=subprocess.DEVNULL)
            try:
                wait_until(lambda: listens(tls_port), 10, "nginx to listen", alive=proxy)
                telephone("nginx", place, tls_port, cert)
                host = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                for path in [b"/api//v1/calls", b"/api/v1/%2e%2e%2fhealth"]:
                    answer = raw(tls_port, cert, b"GET " + path + host)
                    check.want(f"nginx passes {path.decode()} as it is, to be refused", answer.startswith("HTTP/1.1 400"), answer)
                answer = raw(tls_port, cert, b"GET /health" + host)
                check.want("answers carry HSTS once", answer.lower().count("strict-transport-security") == 1, answer)
                logged = (folder / "access.log").read_text()
                check.want("nginx logs no query", "/twilio/voice" in logged and "?" not in logged, logged)
            finally:
                proxy.terminate()
                proxy.wait(10)


def with_own_tls():
    with Installation() as place:
        folder = pathlib.Path(place.directory)
        cert, key = certificate(folder, "own")
        place.add_patient(phone=PHONE)
        settings = {
            **place.settings, "PUBLIC_BASE_URL": f"https://localhost:{place.port}", "HEARTVOICE_ENV": "production",
            "TLS_CERT_FILE": str(cert), "TLS_KEY_FILE": str(key),
        }
        asked = lambda: run("healthcheck", directory=place.directory, **settings).returncode  # noqa: E731
        check.want("healthcheck says that nobody answers", asked() == 1)
        with Process("serve", directory=place.directory, **settings) as server:
            wait_until(lambda: asked() == 0, 20, "the server to be well", alive=server.child)
            check.want("healthcheck knows a server with its own TLS", True)
            telephone("own TLS", place, place.port, cert)
            check.want("the server stops well", server.stop() == 0, server.err)
        swapped = run("serve", directory=place.directory, **{**settings, "TLS_KEY_FILE": str(cert)})
        said = swapped.stderr.startswith("error: TLS_KEY_FILE: expected one private key")
        check.want("a bad key is named, exit code 2", swapped.returncode == 2 and said, swapped.stderr)


def with_caddy():
    if not shutil.which("caddy"):
        print("note caddy is not installed: its snippet was not checked")
        return
    tested = subprocess.run(
        ["caddy", "adapt", "--validate", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile"], capture_output=True, text=True
    )
    check.want("Caddy accepts the snippet", tested.returncode == 0, tested.stderr)


# Side by side: most of the time is spent telephoning.
began = time.monotonic()
with concurrent.futures.ThreadPoolExecutor() as pool:
    for part in [pool.submit(part) for part in (behind_nginx, with_own_tls, with_caddy)]:
        part.result()
print(f"note {time.monotonic() - began:.1f} s")
check.finish()
