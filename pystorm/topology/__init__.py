"""What users declare: a topology, from YAML or Python to a checked model.

In reading order: `model` (the plain data), `options` and `config` (every configuration key), `yaml_source` (YAML with
places), `substitution` (`${name}`), `includes` (several files as one), `definitions` and `flux` (YAML to model),
`specs` and `dsl` (Python to model), `python_source` (a Python file as a topology file), `classes` and `signatures`
(users' classes, looked at but never built), `validation` (what a model may be), `loading`
(all of it in one call), `plan` (tasks and workers), `keygroups`.
"""
