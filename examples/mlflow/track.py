"""Logs to TinyOps with the stock MLflow client: nothing but MLFLOW_TRACKING_URI says where.

    tinyops serve
    MLFLOW_TRACKING_URI=http://127.0.0.1:8420 python track.py

With TINYOPS_EXAMPLE_PROJECT it also looks at the runs of the pipeline of that name. Needs mlflow (2.x or 3.x;
mlflow-skinny is enough, with skops beside it), scikit-learn and pandas. With Keras installed its flavour is run as well,
on the backend that KERAS_BACKEND names; with PyTorch and Lightning installed, theirs. Every step is checked, so that the script ends with `all as logged`, or with what
was not.
"""

import http.server
import json
import math
import os
import tempfile
import threading
import time

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
import pandas
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

HAS_LOGGED_MODELS = int(mlflow.__version__.split(".")[0]) >= 3


def refused(work):
    """Whether the server refuses what `work` does, and says why."""
    try:
        work()
    except MlflowException as why:
        print("refused, as it should be:", why)
        return True
    return False


def log_a_run(client, experiment):
    with mlflow.start_run(run_name="baseline", tags={"board": "esp-eye"}) as run:
        mlflow.log_param("lr", 0.001)
        mlflow.log_params({"batch": 32, "arch": "dscnn"})
        mlflow.log_metric("acc", 0.9, step=1)
        mlflow.log_metrics({"f1": 0.88, "odd": float("nan"), "loud": float("inf")}, step=2)
        for step, loss in enumerate([0.9, 0.5, 0.3]):
            mlflow.log_metric("loss", loss, step=step)
        # What a board costs is a metric like any other.
        mlflow.log_metrics({"esp-eye/arena_bytes": 35024, "esp-eye/flash_bytes": 61440})
        mlflow.log_dict({"window_ms": 1000}, "config.json")
        mlflow.log_text("quiet room", "notes/recordings.txt")
        table = pandas.DataFrame({"rms": [0.1, 0.7], "label": [0, 1]})
        mlflow.log_input(mlflow.data.from_pandas(table, name="fan"), context="training")
        with mlflow.start_run(nested=True, run_name="fold 1"):
            mlflow.log_metric("acc", 0.5)
        for step in range(20):
            mlflow.log_metric("later", step, step=step, synchronous=False)
        mlflow.flush_async_logging()
        assert refused(lambda: mlflow.log_param("lr", 2)), "a parameter never changes"
    found = client.get_run(run.info.run_id)
    assert found.data.params["arch"] == "dscnn" and found.data.metrics["acc"] == 0.9
    assert math.isnan(found.data.metrics["odd"]) and found.data.metrics["loud"] > 1e308
    assert found.inputs.dataset_inputs[0].dataset.name == "fan"
    history = [point.value for point in client.get_metric_history(run.info.run_id, "loss")]
    assert sorted(history) == [0.3, 0.5, 0.9], history
    assert len(client.get_metric_history(run.info.run_id, "later")) == 20
    for query, count in [
        ("metrics.acc > 0.6 and params.arch = 'dscnn' and tags.board = 'esp-eye'", 1),
        ("metrics.`esp-eye/arena_bytes` < 65536 and attributes.status = 'FINISHED'", 1),
        ("params.arch LIKE 'DS%'", 0),
        ("params.arch ILIKE 'DS%'", 1),
        ("datasets.name = 'fan'", 1),
    ]:
        rows = mlflow.search_runs([experiment.experiment_id], query, order_by=["metrics.acc DESC"])
        assert len(rows) == count, (query, len(rows))
    assert refused(lambda: mlflow.search_runs(filter_string="acc > 1")), "a key needs its entity"
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"config.json", "notes"}, names
    with tempfile.TemporaryDirectory() as folder:
        uri = f"runs:/{run.info.run_id}/notes/recordings.txt"
        path = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
        assert open(path).read() == "quiet room"


def register_a_model(client, name):
    rows, labels = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    with mlflow.start_run(run_name="scikit-learn") as run:
        where = {"name": "model"} if HAS_LOGGED_MODELS else {"artifact_path": "model"}
        mlflow.sklearn.log_model(model, registered_model_name=name, **where)
        mlflow.log_metric("acc", model.score(rows, labels))
    same = lambda uri: (mlflow.sklearn.load_model(uri).predict(rows) == model.predict(rows)).all()
    assert same(f"runs:/{run.info.run_id}/model")
    assert same(f"models:/{name}/1")
    client.set_registered_model_alias(name, "champion", "1")
    assert same(f"models:/{name}@champion")
    client.set_model_version_tag(name, "1", "checked", "yes")
    client.update_model_version(name, "1", description="from the laptop")
    client.transition_model_version_stage(name, "1", "Production", archive_existing_versions=True)
    assert same(f"models:/{name}/Production")
    version = client.get_model_version(name, "1")
    assert version.tags["checked"] == "yes" and version.description == "from the laptop"
    again = mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    assert int(again.version) == 2
    assert len(client.search_model_versions(f"name = '{name}'")) == 2
    assert refused(lambda: client.set_registered_model_alias(name, "v1", "1")), "v1 is a version"


def log_by_itself(client):
    rows, labels = load_iris(return_X_y=True)
    mlflow.sklearn.autolog(log_models=False)
    with mlflow.start_run(run_name="autolog") as run:
        LogisticRegression(max_iter=400).fit(rows, labels)
    mlflow.sklearn.autolog(disable=True)
    assert "training_accuracy_score" in client.get_run(run.info.run_id).data.metrics


def log_with_keras(client):
    try:
        import keras
        import numpy
    except ImportError:
        print("Keras is not installed: its flavour is left out")
        return
    inputs = numpy.random.default_rng(7).normal(size=(64, 8)).astype("float32")
    labels = (inputs.sum(axis=1) > 0).astype("float32")
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    mlflow.keras.autolog() if hasattr(mlflow, "keras") else mlflow.tensorflow.autolog()
    with mlflow.start_run(run_name="keras") as run:
        model.fit(inputs, labels, epochs=2, verbose=0)
    found = client.get_run(run.info.run_id)
    assert "accuracy" in found.data.metrics and found.data.params["epochs"] == "2", found.data
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 2
    if HAS_LOGGED_MODELS:
        logged = client.get_logged_model(found.outputs.model_outputs[0].model_id)
        again = mlflow.keras.load_model(f"models:/{logged.model_id}")
        close = numpy.allclose(again.predict(inputs, verbose=0), model.predict(inputs, verbose=0))
        assert logged.status == "READY" and close, logged


def log_with_pytorch(client):
    try:
        import pytorch_lightning as lightning
        import torch
    except ImportError:
        print("PyTorch or Lightning is not installed: their flavour is left out")
        return

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 2)

        def forward(self, rows):
            return self.layer(rows)

        def training_step(self, batch, _):
            loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("train_loss", loss, on_epoch=True, on_step=False)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.05)

    torch.manual_seed(7)
    inputs = torch.randn(64, 8)
    rows = torch.utils.data.TensorDataset(inputs, (inputs.sum(dim=1) > 0).long())
    model = Net()
    mlflow.pytorch.autolog()
    with mlflow.start_run(run_name="pytorch") as run:
        trainer = lightning.Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
        )
        trainer.fit(model, torch.utils.data.DataLoader(rows, batch_size=16))
    mlflow.pytorch.autolog(disable=True)
    found = client.get_run(run.info.run_id)
    assert found.data.params["optimizer_name"] == "Adam" and found.data.params["epochs"] == "3", found.data
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 3
    assert "model_summary.txt" in {file.path for file in client.list_artifacts(run.info.run_id)}
    if HAS_LOGGED_MODELS:
        logged = client.get_logged_model(found.outputs.model_outputs[0].model_id)
        again = mlflow.pytorch.load_model(f"models:/{logged.model_id}")
        assert logged.status == "READY" and torch.allclose(again(inputs), model(inputs)), logged


def look_at_own_runs(client, project):
    """A pipeline of TinyOps that ran as `project` is an experiment like any other."""
    experiment = client.get_experiment_by_name(project)
    query = "metrics.`device/esp-eye/arena_bytes` < 500000 and tags.`tinyops.state` = 'done'"
    runs = client.search_runs([experiment.experiment_id], query, order_by=["metrics.accuracy DESC"])
    assert runs, "the pipeline's run is found by what it takes of a board"
    run = runs[0]
    assert run.info.status == "FINISHED" and run.data.params["train.epochs"]
    assert run.inputs.dataset_inputs[0].dataset.name == project
    assert len(client.get_metric_history(run.info.run_id, "loss")) > 1
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"evaluate", "train"}
    version = client.get_model_version(project, run.data.tags["tinyops.version"].split("@")[1])
    if HAS_LOGGED_MODELS:
        family = [client.get_logged_model(made.model_id) for made in run.outputs.model_outputs]
        kinds = [model.tags["tinyops.variant"] for model in family]
        assert kinds[:3] == ["float", "int8", "payload"], kinds
        float_model, int8, payload = family[:3]
        assert int8.tags["tinyops.made_from"] == float_model.model_id
        assert payload.tags["tinyops.made_from"] == int8.model_id and version.run_id == run.info.run_id
        assert "parity/agreement" in {metric.key for metric in int8.metrics}
        with tempfile.TemporaryDirectory() as folder:
            uri = f"models:/{int8.model_id}"
            path = mlflow.artifacts.download_artifacts(f"{int8.artifact_location}/model.tinyops", dst_path=folder)
            assert os.path.getsize(path) > 100, uri
    assert refused(lambda: client.set_terminated(run.info.run_id, "FAILED")), "it is a record"
    client.set_tag(run.info.run_id, "seen", "yes")


def listen_to_the_registry(client, name):
    """What changes in the registry is told, and signed so that MLflow's own code believes it."""
    try:
        from mlflow.webhooks.delivery import _generate_hmac_signature as sign
    except ImportError:
        print("this client knows no webhooks")
        return
    told = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            told.append((dict(self.headers), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    receiver = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    events = ["registered_model.created", "model_version_tag.set", "model_version_alias.created"]
    hook = client.create_webhook("ci", url, events, description="from the laptop", secret="s3cret")
    assert [str(event) for event in hook.events] == events and hook.status.is_active()
    tested = client.test_webhook(hook.webhook_id)
    assert tested.success and tested.response_status == 200, tested.error_message
    client.create_registered_model(name, tags={"team": "pump"})
    run = client.create_run("0")
    version = client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id)
    client.set_model_version_tag(name, version.version, "checked", "yes")
    client.set_registered_model_alias(name, "champion", version.version)
    deadline = time.time() + 20
    while len(told) < 4 and time.time() < deadline:
        time.sleep(0.1)
    documents = [json.loads(body) for _, body in told]
    assert [f"{told['entity']}.{told['action']}" for told in documents[1:]] == events, documents
    assert documents[1]["data"] == {"name": name, "tags": {"team": "pump"}, "description": None}
    for headers, body in told:
        delivery, at = headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"]
        assert headers["X-MLflow-Signature"] == sign("s3cret", delivery, at, body)
    changed = client.update_webhook(hook.webhook_id, status="DISABLED")
    assert not changed.status.is_active() and len(client.list_webhooks()) == 1
    client.delete_webhook(hook.webhook_id)
    assert refused(lambda: client.get_webhook(hook.webhook_id)), "it is gone"
    assert refused(lambda: client.create_webhook("ci", "ftp://x", events)), "no such address"
    client.delete_registered_model(name)
    receiver.shutdown()


def main():
    print("MLflow", mlflow.__version__, "at", mlflow.get_tracking_uri())
    name = f"fan-{time.time_ns()}"
    experiment = mlflow.set_experiment(name)
    client = MlflowClient()
    log_a_run(client, experiment)
    register_a_model(client, name)
    log_by_itself(client)
    log_with_keras(client)
    log_with_pytorch(client)
    listen_to_the_registry(client, f"told-{time.time_ns()}")
    if project := os.environ.get("TINYOPS_EXAMPLE_PROJECT"):
        look_at_own_runs(client, project)
    client.delete_registered_model(name)
    client.delete_experiment(experiment.experiment_id)
    client.restore_experiment(experiment.experiment_id)
    print("all as logged")


if __name__ == "__main__":
    main()
