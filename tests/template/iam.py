"""IAM's evaluation of the policies that these templates hold: an explicit denial, else a permission, else a refusal.

An element or a condition operator that it does not know is an error, not a guess. moto's evaluator is no help here: it
treats every resource as "*" (ELB v2, RDS) and takes an unmet condition for a denial.
"""

import re

from stack import listed

KNOWN = {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}


def allows(statements, action, resource, context=None, service=None):
    decision = False
    for statement in statements:
        if unknown := statement.keys() - KNOWN:
            raise NotImplementedError(unknown)
        if not _applies(statement, action, resource, context or {}, service):
            continue
        if statement["Effect"] == "Deny":
            return False
        decision = True
    return decision


def _applies(statement, action, resource, context, service):
    if "Principal" in statement:
        principal = statement["Principal"]
        if principal != "*" and service not in listed(principal["Service"]):
            return False
    # Actions are compared without case, resources with it.
    return (
        any(_like(pattern.lower(), action.lower()) for pattern in listed(statement["Action"]))
        and any(_like(pattern, resource) for pattern in listed(statement["Resource"]))
        and all(
            _holds(operator, key, listed(values), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _holds(operator, key, values, context):
    actual = context.get(key)
    match operator:
        case "Null":
            return str(actual is None).lower() in values
        case "Bool":
            return actual is not None and actual.lower() in values
        case "ArnEquals" | "ArnLike":
            return actual is not None and any(_like(value, actual) for value in values)
        case "StringEquals":
            return actual is not None and actual in values
        case "StringLike":
            return actual is not None and any(_like(value, actual) for value in values)
    raise NotImplementedError(operator)


def _like(pattern, text):
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
