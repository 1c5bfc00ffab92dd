"""The table of rules that a compiled pipeline must keep before it may leave this machine.

IDs are stable. Areas are `GPU` (steps that use an accelerator), `IMAGE`, `SECRET`, `CACHE` and
`PARAM` (what travels as a parameter, and is recorded with the run).
"""

from collections.abc import Mapping
from types import MappingProxyType

from admlops.structures.finding import Finding, Rule

_ROWS: tuple[tuple[str, str, str], ...] = (
    (
        "GPU001",
        "A GPU step is bound to a pool of nodes",
        "Give the pool a `node_selector` in the cluster profile",
    ),
    (
        "GPU002",
        "A GPU step tolerates the taint that keeps other pods off GPU nodes",
        "Give the pool `tolerations` in the cluster profile",
    ),
    (
        "GPU003",
        "A GPU step names its accelerator and how many it takes",
        "Give the pool an `accelerator`, or say `cpu_only: true` in the cluster profile",
    ),
    (
        "GPU004",
        "A GPU step has a /dev/shm in memory, with a size",
        "Give the pool a `shm_size` in the cluster profile",
    ),
    (
        "GPU005",
        "A GPU step ends after a stated time",
        "Give the pool a `timeout_s` in the cluster profile",
    ),
    (
        "GPU006",
        "A GPU step is tried again when its node is lost",
        "Give the pool `max_retries` in the cluster profile",
    ),
    (
        "IMAGE001",
        "An image is not tagged `latest`: its content changes under the same cache key",
        "Name a version or a digest in the cluster profile",
    ),
    (
        "IMAGE002",
        "An image has a tag or a digest",
        "Name a version or a digest in the cluster profile or in ADMLOPS_IMAGE_*",
    ),
    (
        "SECRET001",
        "No secret value travels as a parameter or variable: both are recorded",
        "Put it into a Secret and name that under `secrets` in the cluster profile",
    ),
    (
        "CACHE001",
        "Steps that decide or act outside the run (gate, publish, deploy, monitor) are not cached",
        "Call set_caching_options(False) on the task",
    ),
    (
        "PARAM001",
        "A parameter carries a reference or settings, not data",
        "Write the data to the store and pass its URI",
    ),
)

LINT_RULES: Mapping[str, Rule] = MappingProxyType(
    {rule_id: Rule(rule_id, "error", statement, mend) for rule_id, statement, mend in _ROWS}
)


def lint_finding(rule_id: str, where: str, what: str) -> Finding:
    """Return a finding of the rule `rule_id`."""
    return Finding(LINT_RULES[rule_id], where, what)
