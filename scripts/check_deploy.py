#!/usr/bin/env python3
"""Two parts of check-deploy.sh that want a YAML and a JSON parser.

  custom FILE CRD...     each object in FILE against the schema of its kind, from files of
                         CustomResourceDefinitions; a field that the schema lacks is an error
  expressions DASHBOARD  the PromQL of a Grafana dashboard as a file of recording rules, its variables
                         filled in, for promtool to parse
"""

import json
import sys

import jsonschema
import yaml


def closed(schema):
    """Unknown fields are errors, as `kubectl apply --validate=strict` has it."""
    if isinstance(schema, list):
        for part in schema:
            closed(part)
    elif isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        if schema.get("x-kubernetes-int-or-string"):
            schema.pop("type", None)
        for part in schema.values():
            closed(part)


def custom(file, definitions):
    schemas = {}
    for path in definitions:
        with open(path) as stream:
            for crd in yaml.safe_load_all(stream):
                spec = crd["spec"]
                for version in spec["versions"]:
                    schema = version["schema"]["openAPIV3Schema"]
                    closed(schema)
                    # Kubernetes' own, which a definition leaves open.
                    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
                    schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    wrong = 0
    with open(file) as stream:
        for thing in yaml.safe_load_all(stream):
            kind = thing["apiVersion"], thing["kind"]
            if kind not in schemas:
                print(f"{file}: no schema for {kind}")
                wrong += 1
                continue
            for error in jsonschema.Draft202012Validator(schemas[kind]).iter_errors(thing):
                print(f"{file}: {thing['kind']}: /{'/'.join(map(str, error.path))}: {error.message}")
                wrong += 1
    return wrong


def expressions(dashboard):
    with open(dashboard) as stream:
        panels = json.load(stream)["panels"]
    rules = []
    for panel in panels:
        for target in panel.get("targets", []):
            filled = target["expr"].replace("$__rate_interval", "1m").replace("$worker", ".*").replace("$pipeline", ".*")
            if "$" in filled:
                print(f"{panel['title']}: a variable that is not known here: {filled}", file=sys.stderr)
                return 1
            rules.append({"record": f"panel_{panel['id']}_{target['refId']}", "expr": filled})
    json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)  # JSON is YAML.
    return 0 if rules else 1


if __name__ == "__main__":
    verb, file, *more = sys.argv[1:]
    sys.exit(min(1, custom(file, more) if verb == "custom" else expressions(file)))
