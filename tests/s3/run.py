"""The audio store against a simulated S3 service and the official client.

Starts moto (which recomputes signatures with botocore), and checks that what the product uploads the official client reads
back byte for byte, that what the official client stores the product reads, and that deleting removes every version.

Usage: run.py PROGRAM   (PROGRAM is the example `audio_store` of the crate `store`)
"""

import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
import botocore.config

BUCKET = "clinic-audio"
PREFIX = "site/one"
REGION = "eu-central-1"
MIB = 1024 * 1024


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """A running moto server."""

    def __init__(self):
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.address}/moto-api/", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("moto did not start")

    def client(self, name, key="test", secret="test"):
        return boto3.client(
            name,
            endpoint_url=self.address,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )

    def check_signatures(self):
        """From now on every request must be signed by a user who may do what it asks."""
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.address}/moto-api/reset-auth", b"0", headers, method="POST")
        urllib.request.urlopen(request, timeout=5).close()


class Product:
    """The example program, with its own spool."""

    def __init__(self, program, address, key, secret, directory):
        self.program = program
        self.spool = directory / "spool"
        self.environment = {
            "PATH": os.environ["PATH"],
            "AUDIO_STORE": f"s3://{BUCKET}/{PREFIX}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": address,
        }

    def run(self, *arguments, expect=0, **changes):
        done = subprocess.run(
            [self.program, str(self.spool), *map(str, arguments)],
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != expect:
            raise SystemExit(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr


def versions(s3, key):
    found = s3.list_object_versions(Bucket=BUCKET, Prefix=key)
    return len(found.get("Versions", [])) + len(found.get("DeleteMarkers", []))


def expect(condition, what):
    if not condition:
        raise SystemExit(f"failed: {what}")
    print(f"ok: {what}")


def check(service, program, directory):
    s3, iam = service.client("s3"), service.client("iam")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    # More names than a page has.
    for number in range(1005):
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/many-{number}.hvr", Body=b"x")
    iam.create_user(UserName="heartvoice")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="heartvoice", PolicyName="audio", PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName="heartvoice")["AccessKey"]
    key, secret = made["AccessKeyId"], made["SecretAccessKey"]
    service.check_signatures()
    s3 = service.client("s3", key, secret)
    product = Product(program, service.address, key, secret, directory)

    refused = product.run("check", expect=1, AWS_SECRET_ACCESS_KEY="another")
    expect("SignatureDoesNotMatch" in refused, "a wrong secret is refused by the service")
    product.run("check")
    print("ok: signatures are accepted")

    noise = random.Random(5)
    for name, size in [("one-byte", 1), ("short", MIB), ("limit", 8 * MIB), ("parts", 20 * MIB + 7)]:
        content = noise.randbytes(size)
        local = directory / "content"
        local.write_bytes(content)
        product.run("put", name, local)
        stored = s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}.hvr")["Body"].read()
        expect(stored == content, f"boto3 reads what we stored: {name}, {size} bytes")
        expect(not list(product.spool.iterdir()), f"the spool is empty: {name}")

        content = noise.randbytes(size + 1)
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}.hvr", Body=content)
        product.run("get", name, local)
        expect(local.read_bytes() == content, f"we read what boto3 stored: {name}")

    listed = product.run("list").splitlines()
    expect(len(listed) == 1009 and "short 1048577 Store" in listed, "all recordings are listed")

    for number in range(3):
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/short.hvr", Body=b"%d" % number)
    s3.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/short.hvr")
    s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/short.hvr.copy", Body=b"another object")
    s3.create_multipart_upload(Bucket=BUCKET, Key=f"{PREFIX}/short.hvr")
    said = product.run("delete", "short")
    expect("Everything { copies: 6 }" in said, f"every version is deleted: {said.strip()}")
    left = s3.list_object_versions(Bucket=BUCKET, Prefix=f"{PREFIX}/short.hvr")
    names = {version["Key"] for version in left.get("Versions", []) + left.get("DeleteMarkers", [])}
    expect(names == {f"{PREFIX}/short.hvr.copy"}, "no version is left, and no other object is gone")
    uploads = s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    expect(not uploads, "no parts are left")
    product.run("get", "short", directory / "none", expect=1)
    print("ok: a deleted recording is not found")

    # The store away, then back: nothing is lost.
    local.write_bytes(content)
    product.run("put", "later", local, expect=1, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    expect((product.spool / "later.hvr").read_bytes() == content, "without the store the recording stays in the spool")
    said = product.run("resume")
    expect("uploaded: 1" in said and versions(s3, f"{PREFIX}/later.hvr") == 1, "and is taken up when it is back")


def main():
    service = Service()
    try:
        with tempfile.TemporaryDirectory() as directory:
            check(service, sys.argv[1], pathlib.Path(directory))
    finally:
        service.child.terminate()
        service.child.wait(10)


if __name__ == "__main__":
    main()
