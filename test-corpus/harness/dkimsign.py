"""DKIM keys and signatures for tests and the demo (RFC 6376, rsa-sha256, relaxed/relaxed), with the openssl command."""

import base64
import hashlib
import os
import re
import subprocess
import tempfile

SIGNED = [b"from", b"to", b"subject", b"date", b"message-id"]


def _openssl(*words, data=b""):
    return subprocess.run(("openssl",) + words, input=data, capture_output=True, check=True).stdout


def make_key(bits=2048):
    """A private key (PEM) and the TXT record that publishes its other half."""
    private = _openssl("genrsa", str(bits))
    public = _openssl("rsa", "-pubout", "-outform", "DER", data=private)
    return private, "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


def _relaxed_header(name, value):
    return name.lower().strip() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()


def _relaxed_body(body):
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and lines[-1] == b"":
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def sign(message, private, domain, selector):
    head, body = message.split(b"\r\n\r\n", 1)
    fields = {}
    for field in re.split(rb"\r\n(?![ \t])", head):
        name, value = field.split(b":", 1)
        fields[name.lower()] = (name, value)
    used = [name for name in SIGNED if name in fields]
    body_hash = base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest())
    unsigned = (b"v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=%s; h=%s; bh=%s; b="
                % (domain.encode(), selector.encode(), b":".join(used), body_hash))
    to_sign = b"".join(_relaxed_header(*fields[name]) + b"\r\n" for name in used)
    to_sign += _relaxed_header(b"DKIM-Signature", unsigned)
    with tempfile.NamedTemporaryFile(delete=False) as f:
        f.write(private)
    try:
        signature = base64.b64encode(_openssl("dgst", "-sha256", "-sign", f.name, data=to_sign))
    finally:
        os.unlink(f.name)
    return b"DKIM-Signature: " + unsigned + signature + b"\r\n" + message
