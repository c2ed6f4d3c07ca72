"""What Schemathesis does beside what it does by itself: it asks as somebody, often about things that exist, and keeps count.

Settings come in the file that FUZZ_PLAN names: `headers` to take in turn, so that one caller's pace does not slow everything
down, and identifiers of things by resource.
"""

import atexit
import collections
import itertools
import json
import os
import random
import re
import threading

import schemathesis

with open(os.environ["FUZZ_PLAN"]) as plan:
    PLAN = json.load(plan)
CALLERS = itertools.cycle(PLAN["headers"] or [{}])
CHOICE = random.Random(PLAN["seed"])
ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
STATUSES = collections.Counter()
LOCK = threading.Lock()


def real(operation, name):
    """An identifier of something that exists, where there is one and it is the turn of one."""
    resource = name.removesuffix("_id").removesuffix("Id") if name != "id" else operation.path.removeprefix("/api/v1/").split("/")[0].removesuffix("s")
    known = PLAN["ids"].get(resource)
    spared = operation.definition.raw.get("operationId") in PLAN["spare"]
    if operation.definition.raw.get("operationId") in PLAN["dangerous"]:
        # Schemathesis learns identifiers from answers; those who ask would end themselves.
        return CHOICE.choice(known) if known and CHOICE.random() < 0.75 else "nobody-of-ours"
    return CHOICE.choice(known) if known and not spared and CHOICE.random() < 0.75 else None


@schemathesis.hook
def before_call(context, case, **kwargs):
    with LOCK:
        headers = next(CALLERS)
        for name, value in dict(case.path_parameters or {}).items():
            if isinstance(value, str) and ID.match(value):
                case.path_parameters[name] = real(case.operation, name) or value
        body = case.body
        if isinstance(body, dict):
            for name in ("patient_id", "user_id"):
                if isinstance(body.get(name), str):
                    body[name] = real(case.operation, name) or body[name]
    for name, value in headers.items():
        case.headers[name] = value


@schemathesis.hook
def after_call(context, case, response):
    with LOCK:
        STATUSES[f"{case.operation.definition.raw.get('operationId')} {response.status_code}"] += 1


@atexit.register
def tell():
    with open(PLAN["statuses"], "w") as out:
        json.dump(STATUSES, out)
