"""Recordings that DVC keeps are taken over, and shared through a bucket that checks signatures; then one is erased."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

binary, place = sys.argv[1], pathlib.Path(sys.argv[2])
# The first calls make the user that all later ones must be signed by.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "4"
import boto3
from moto.server import ThreadedMotoServer

old = sys.argv[3] if len(sys.argv) > 3 else None
shutil.rmtree(place, ignore_errors=True)
theirs, ours, clone = place / "theirs", place / "ours", place / "clone"
QUIET = {"GIT_CONFIG_GLOBAL": "/dev/null", "DVC_NO_ANALYTICS": "1"}


def run(folder, *args, expect=0, **variables):
    done = subprocess.run(args, cwd=folder, env=os.environ | QUIET | variables, capture_output=True, text=True)
    if done.returncode != expect:
        sys.exit(f"{' '.join(map(str, args))} ended with {done.returncode}, not {expect}:\n{done.stdout}{done.stderr}")
    return done.stdout


def dvc(*args):
    run(theirs, sys.executable, "-m", "dvc", *args)


def git(folder, *args):
    run(folder, "git", "-c", "user.name=Ana", "-c", "user.email=ana@example.org", *args)


def own(folder, *args, expect=0, **variables):
    return run(folder, binary, *args, expect=expect, **variables)


def write(path, bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes)


def project(folder):
    folder.mkdir(parents=True, exist_ok=True)
    text = '[project]\nname = "fan"\n[versions]\nremote = "s3://recordings/pumps and é"\n'
    text += '[[data.source]]\nroot = "rec"\nfiles = ["{group}/{label}/*.csv"]\nrate_hz = 100\n'
    (folder / "tinyops.toml").write_text(text)


def inodes(folder):
    paths = [path for path in folder.rglob("*") if ".git" not in path.parts]
    return {path: (s.st_ino, s.st_nlink, s.st_mode, s.st_mtime_ns, s.st_ctime_ns) for path in paths for s in [path.lstat()]}


# A repository as DVC makes it: a folder, a file, names of all kinds, a stage, an output that Git has, a remote.
for machine in range(3):
    for take in range(4):
        write(theirs / f"rec/m{machine}/calm/{take}.csv", f"x\n{machine}\n{take}\n".encode())
write(theirs / "rec/m1/worn out/münchen, #1.csv", b"x\n9\n9\n")
write(theirs / "rec/m1/calm/long.csv", b"x\n" + b"".join(b"%d\n" % (n * n % 7919) for n in range(4_000_000)))
write(theirs / "deep/down/one.csv", b"x\n1\n")
write(theirs / "dvc.yaml", b"""stages:
  cut:
    cmd: cp deep/down/one.csv made.csv && echo 1 > metrics.json
    deps: [deep/down/one.csv]
    outs: [made.csv]
    metrics:
    - metrics.json: {cache: false}
""")
git(theirs, "init", "--quiet")
dvc("init", "--quiet")
dvc("add", "--quiet", "rec", "deep/down/one.csv")
dvc("repro", "--quiet")
dvc("remote", "add", "--default", "store", str(place / "store"))
dvc("push", "--quiet")
git(theirs, "add", "--all")
git(theirs, "commit", "--quiet", "--message", "first")

before = inodes(theirs)
project(ours)
git(ours, "init", "--quiet")
own(ours, "import", "dvc", str(theirs))
assert inodes(theirs) == before, "something of DVC's was changed"
run(place, "diff", "--recursive", theirs / "rec", ours / "rec")
assert not (ours / "metrics.json").exists(), "what is in Git is not DVC's"
assert (ours / "made.csv").read_bytes() == b"x\n1\n"
own(ours, "data", "verify")
git(ours, "add", "--all")
git(ours, "commit", "--quiet", "--message", "first")

if old:
    # A text with the line ends of Windows, one of which lies across a mebibyte, and what only looks like a text.
    before, after = place / "before", place / "after"
    write(before / "one.csv", b"x\r\n1\r\n2\n3\r")
    write(before / "rec/m1/calm/split.csv", b"a" * (2**20 - 1) + b"\r\nb\r\n")
    write(before / "rec/m1/calm/odd.bin", b"x\r\n\0\r\n")
    git(before, "init", "--quiet")
    for words in (["init", "--quiet"], ["add", "--quiet", "rec", "one.csv"]):
        run(before, old, "-m", "dvc", *words)
    assert "hash: md5" not in (before / "one.csv.dvc").read_text()
    project(after)
    git(after, "init", "--quiet")
    own(after, "import", "dvc", str(before))
    run(place, "diff", "--recursive", before / "rec", after / "rec")
    run(place, "diff", before / "one.csv", after / "one.csv")
    own(after, "data", "verify")

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
anyone = dict(endpoint_url=url, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="y")
iam = boto3.client("iam", **anyone)
iam.create_user(UserName="ana")
policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
iam.put_user_policy(UserName="ana", PolicyName="all", PolicyDocument=policy)
key = iam.create_access_key(UserName="ana")["AccessKey"]
s3 = boto3.client("s3", **anyone)
s3.create_bucket(Bucket="recordings", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
who = dict(
    AWS_ENDPOINT_URL=url,
    AWS_REGION="eu-central-1",
    AWS_ACCESS_KEY_ID=key["AccessKeyId"],
    AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"],
)
own(ours, "data", "push", expect=3, **(who | {"AWS_SECRET_ACCESS_KEY": "another"}))
own(ours, "data", "push", "--remote", "s3://nowhere/x", expect=2, **who)
own(ours, "data", "push", **who)
again = own(ours, "data", "push", **who)
assert "0 objects pushed" in again, again

git(place, "clone", "--quiet", str(ours), str(clone))
own(clone, "data", "pull", **who)
run(place, "diff", "--recursive", ours / "rec", clone / "rec")
damaged = next(path for path in (clone / ".tinyops/cache/objects").rglob("*") if path.is_file())
bytes = bytearray(damaged.read_bytes())
bytes[0] ^= 1
damaged.unlink()
damaged.write_bytes(bytes)
own(clone, "data", "verify", expect=1)
own(clone, "data", "pull", "--repair", "--force", **who)
own(clone, "data", "verify")

mine = boto3.client(
    "s3",
    endpoint_url=url,
    region_name="eu-central-1",
    aws_access_key_id=key["AccessKeyId"],
    aws_secret_access_key=key["SecretAccessKey"],
)


def there():
    pages = mine.get_paginator("list_objects_v2").paginate(Bucket="recordings")
    return {item["Key"].split("objects/")[1].replace("/", "") for page in pages for item in page.get("Contents", [])}


all = there()
plan = json.loads(own(ours, "erase", "--group", "m1", "--json", **who))
assert plan["objects"] and set(plan["objects"]) <= all, plan
own(ours, "erase", "--group", "m1", "--yes", **who)
assert there() == all - set(plan["objects"]), "the bucket has what was erased"
own(ours, "data", "verify")
own(ours, "data", "push", **who)
server.stop()
print(f"taken over from DVC, shared through a bucket, repaired, and {len(plan['objects'])} objects erased")
