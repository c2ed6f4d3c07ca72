#!/usr/bin/env python3
"""Reads FHIR R4 resources, one JSON object a line, with the models of the package fhir.resources: a third opinion beside
the two of validate.mjs. Usage: models.py FILE.ndjson..."""

import json
import sys

from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle
from pydantic import ValidationError

MODELS = {"AuditEvent": AuditEvent, "Bundle": Bundle}


def main():
    read, refused = 0, 0
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                resource = json.loads(line)
                try:
                    MODELS[resource["resourceType"]].model_validate(resource)
                    read += 1
                except ValidationError as error:
                    refused += 1
                    for mistake in error.errors()[:5]:
                        print(f"{name}:{number}: {'.'.join(map(str, mistake['loc']))}: {mistake['msg']}", file=sys.stderr)
    print(f"{read} resources read, {refused} refused")
    sys.exit(1 if refused or not read else 0)


if __name__ == "__main__":
    main()
