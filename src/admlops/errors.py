"""Every error that admlops raises on purpose.

::

    AdmlopsError
    ├── ConfigError     a setting is wrong            names the field and what is allowed
    ├── DataError       the data cannot be used       names file or key, and the rule, if any
    ├── GateError       a required score was missed   names score, value, threshold
    └── ServiceError    KFP, Triton, object store     names the service and the call

A message says what is wrong, where, and what to do about it.
"""


class AdmlopsError(Exception):
    """Base of all errors that a user can cause or mend."""


class ConfigError(AdmlopsError):
    """A setting is wrong; the message names the field and what is allowed."""


class DataError(AdmlopsError):
    """Data cannot be used; the message names the file or key and the rule's ID if one fired."""


class GateError(AdmlopsError):
    """A required score was missed; the message names score, value and threshold."""


class ServiceError(AdmlopsError):
    """A service failed or cannot be reached; the message names the service and the call."""
