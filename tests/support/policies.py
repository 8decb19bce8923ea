"""Policy texts that several tests read: the smallest useful one, and one with every key of the form."""

__all__ = ["EXAMPLE", "FULL"]

EXAMPLE = """\
version: 1
rules:
  - id: read-shop
    effect: allow
    actions: [select]
    relations: [orders, customers]
    principals: {groups: [support]}
columns:
  customers.email: {mask: pseudonym}
  customers.ssn: {mask: full}
rows:
  orders: "region = principal.region"
limits: {rows: 1000, seconds: 10, statement_bytes: 100000}
"""

FULL = """\
version: 1
purposes: {fraud: {description: Look into fraud}, tax: null}
rules:
  - {id: read, effect: allow, actions: [read], relations: [orders, "cust*"], purposes: [fraud], when: "agent != 'x'"}
  - {id: ask, effect: approve, actions: [update], relations: [orders], where: optional, approval: {groups: [lead], expires: 15m}}
  - {id: never, effect: deny, actions: [all], columns: [orders.total], principals: {ids: [eve], agents: [bot]}, message: No.}
  - {id: mail, effect: allow, actions: [email.send, "calendar.*"]}
columns:
  customers.email: {mask: partial, first: 1, last: 4, except: {groups: [audit], purposes: [tax]}}
  customers.ssn: {mask: null}
  orders.total: {mask: bucket, size: 100}
rows:
  orders: "region = principal.region"
  customers: {predicate: "id IN (principal.groups)", except: {groups: [audit]}}
limits: {rows: 10, rows_changed: 5, seconds: 2.5, statement_bytes: 1000, result_bytes: 1000}
tools:
  email.send: {seconds: 3, arguments: {to: {mask: partial, first: 1}, subject: show, body: hide, day: {mask: date, to: month}}}
  "calendar.*": {arguments: {size: {mask: bucket, size: 10}}}
rates:
  - {tools: ["*"], calls: 100, per: 1h}
  - {tools: [email.send], calls: 2, per: 30}
"""
