"""What users declare: a topology, from YAML to a checked model.

In reading order: `model` (the plain data), `config` (every configuration key), `yaml_source` (YAML with places),
`substitution` (`${name}`), `includes` (several files as one), `flux` (YAML to model), `classes` (users' classes, looked
at but never built), `validation` (what a model may be), `loading` (all of it in one call).
"""
