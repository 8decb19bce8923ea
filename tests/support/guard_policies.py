"""Policies over the corpus schema: the smallest useful one of the design, word for word, and one with everything the guard does."""

from __future__ import annotations

SMALLEST = """\
version: 1
rules:
  - id: read-shop
    effect: allow                 # allow | deny | approve; a deny beats an approve beats an allow; nothing matched = deny
    actions: [select]             # select insert update delete merge | ddl verbs | read write all | tool names
    relations: [orders, customers]          # globs, schema-qualified or not
    principals: {groups: [support]}         # optional; also ids, agents, when: a CEL expression
columns:
  customers.email: {mask: pseudonym}        # full | null | fixed | partial | hash | pseudonym | date | bucket | email | deny
  customers.ssn: {mask: full}
rows:
  orders: "region = principal.region"
limits: {rows: 1000, seconds: 10, statement_bytes: 100000}
"""

SHOP = """\
version: 1
purposes:
  support: {description: Help a customer}
  payroll: {description: Pay salaries}
rules:
  - id: read-shop
    effect: allow
    actions: [select]
    relations: [orders, customers, customer_mails]
    principals: {groups: [support]}
  - id: payroll
    effect: allow
    actions: [select]
    relations: [employees]
    purposes: [payroll]
  - id: refund
    effect: approve
    actions: [update]
    relations: [orders]
    columns: [orders.status]
    approval: {groups: [leads], expires: 5m}
  - id: tidy
    effect: allow
    actions: [delete, insert]
    relations: [orders]
    principals: {groups: [support]}
  - id: mail
    effect: allow
    actions: [email.send]
    when: "principal.region == 'EU'"
columns:
  customers.email: {mask: pseudonym, except: {groups: [leads]}}
  customers.ssn: {mask: full}
limits: {rows: 30, rows_changed: 3, seconds: 5}
"""
