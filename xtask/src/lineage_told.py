"""Events that a catalogue is told are those of OpenLineage: each is rebuilt with the classes of the stock client.

`lineage_told.py BINARY PROJECT`: the project has a run behind it. A field that OpenLineage does not know is an error of
its class, so is one that is missing, and ids and moments are checked by the client; what it writes must be what was told.
"""
import importlib
import json
import pathlib
import pkgutil
import subprocess
import sys

import openlineage.client.generated as generated
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import RunFacet
from openlineage.client.generated import parent_run
from openlineage.client.serde import Serde

binary, project = sys.argv[1], pathlib.Path(sys.argv[2])


def facet_classes():
    """The standard facets by the names of their schemas, such as `ParentRunFacet`."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        module = importlib.import_module(f"{generated.__name__}.{module.name}")
        for name, value in vars(module).items():
            if name.endswith("Facet") and hasattr(value, "_get_schema"):
                found[name] = value
    return found


CLASSES = facet_classes()


def facet(document):
    fields = {key: value for key, value in document.items() if not key.startswith("_")}
    name = document["_schemaURL"].split("#")[0].rsplit("/", 1)[1].removesuffix(".json")
    if name == "BaseFacet":
        return RunFacet(producer=document["_producer"]).with_additional_properties(**fields)
    if name == "ParentRunFacet":
        fields = {"run": parent_run.Run(**fields["run"]), "job": parent_run.Job(**fields["job"])}
    return CLASSES[name](producer=document["_producer"], **fields)


def facets(documents):
    return {key: facet(document) for key, document in documents.items()}


def rebuilt(event):
    def datasets(kind, documents):
        return [kind(of["namespace"], of["name"], facets=facets(of["facets"])) for of in documents]

    fields = dict(event)
    assert fields.pop("schemaURL") == RunEvent._get_schema(), event["schemaURL"]
    fields["eventType"] = RunState(event["eventType"])
    fields["run"] = Run(event["run"]["runId"], facets=facets(event["run"]["facets"]))
    fields["job"] = Job(**event["job"])
    fields["inputs"] = datasets(InputDataset, event["inputs"])
    fields["outputs"] = datasets(OutputDataset, event["outputs"])
    return RunEvent(**fields)


def bare(value):
    """Without what the client adds of its own: empty facets, and its own version of each facet's schema."""
    if isinstance(value, dict):
        kept = {key: bare(of) for key, of in value.items() if key != "_schemaURL"}
        return {key: of for key, of in kept.items() if of != {} or key not in ("facets", "inputFacets", "outputFacets")}
    return [bare(of) for of in value] if isinstance(value, list) else value


events = project / "events.ndjson"
arguments = [binary, "--project", project, "--quiet", "lineage", "--events", events]
done = subprocess.run(arguments, capture_output=True, text=True)
if done.returncode != 0:
    sys.exit(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
told = [json.loads(line) for line in events.read_text().splitlines()]
assert len(told) > 8, told
for event in told:
    again = Serde.to_dict(rebuilt(event))
    again.pop("schemaURL")
    assert bare(again) == bare({key: of for key, of in event.items() if key != "schemaURL"}), (event, again)
try:
    rebuilt(told[0] | {"when": "now"})
    sys.exit("a field that OpenLineage does not know is taken")
except TypeError:
    pass
print(f"{len(told)} events are OpenLineage's")
