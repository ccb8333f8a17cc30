"""`report.html`: a plain page of the same facts as `summary.json`."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>model-prep: {{ run.catalogue }}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; }
  body { padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { border-bottom: 1px solid; padding: .3rem .6rem .3rem 0; text-align: left; }
  pre { white-space: pre-wrap; }
</style>
<h1>model-prep</h1>
<p>{{ run.catalogue }} in {{ run.home }}, {{ run.at }}, exit {{ run.exit }}
{{- ", offline" if run.offline else ", hub " ~ run.hub }}.</p>
<table>
<tr><th>model<th>status<th>commit<th>bytes<th>converted<th>healed</tr>
{% for name, model in run.models.items() -%}
<tr><td>{{ name }}<td>{{ model.status }}<td><code>{{ (model.commit or "")[:12] }}</code>
<td>{{ model.bytes }}<td>{{ model.precisions | join(", ") }}<td>{{ model.healed | length }}</tr>
{% endfor -%}
</table>
{% for name, model in run.models.items() if model.problems or model.healed -%}
<h2>{{ name }}</h2>
{% for text in model.healed %}<pre>healed: {{ text }}</pre>{% endfor %}
{% for text in model.problems %}<pre>{{ text }}</pre>{% endfor %}
{% endfor -%}
</html>
"""


def render(run: Mapping[str, Any]) -> str:
    """The page for what `write_summary` gave; everything in it is escaped."""
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE).render(run=run)
