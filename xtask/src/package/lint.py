"""Holds packages to what their ecosystems ask for, by the ecosystems' own tools where these install from PyPI.

Called with the folder of the packages, one below it for each ecosystem, and the package's name.
"""

import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from idf_component_tools.manager import ManifestManager

packages, name = pathlib.Path(sys.argv[1]), sys.argv[2]


def fail(what):
    sys.exit(f"{what}")


def bills_of_materials():
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for folder in sorted(packages.iterdir()):
        error = validator.validate_str((folder / "sbom.cdx.json").read_text())
        if error:
            fail(f"{folder.name}: sbom.cdx.json: {error}")


def platformio():
    """PlatformIO's own schema of library.json, and its packer."""
    pio = pathlib.Path(sys.executable).with_name("pio")
    home = packages.parent / "platformio-home"
    done = subprocess.run(
        [pio, "pkg", "pack", packages / "platformio", "--output", packages.parent / "platformio.tar.gz"],
        env={**os.environ, "PLATFORMIO_CORE_DIR": str(home), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        fail(f"platformio: {done.stdout[-600:]}{done.stderr[-600:]}")


def esp_idf():
    """The component manager's own checks of idf_component.yml, those of an upload."""
    manager = ManifestManager(str(packages / "esp-idf"), name, upload_mode=True)
    manager.validate()
    if manager.validation_errors:
        fail(f"esp-idf: {manager.validation_errors}")


def zephyr():
    """The keys that Zephyr's schemas know of module, sample and test files, and that what they name is there."""
    folder = packages / "zephyr"
    module = yaml.safe_load((folder / "zephyr/module.yml").read_text())
    if not set(module) <= {"name", "build", "samples", "tests", "boards", "blobs", "package-managers", "security"}:
        fail(f"zephyr: module.yml has {sorted(module)}")
    if not (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file():
        fail("zephyr: build.cmake")
    for path in [module["build"]["kconfig"], *module["samples"], *module["tests"]]:
        if not (folder / path).exists():
            fail(f"zephyr: {path} is not there")
    known = {"tags", "integration_platforms", "harness", "harness_config", "platform_allow", "min_ram", "min_flash"}
    for path in ["samples/classify/sample.yaml", "tests/golden/testcase.yaml"]:
        suite = yaml.safe_load((folder / path).read_text())
        if not set(suite) <= {"sample", "common", "tests"} or not suite["tests"]:
            fail(f"zephyr: {path} has {sorted(suite)}")
        for part in [suite["common"], *suite["tests"].values()]:
            if not set(part) <= known:
                fail(f"zephyr: {path} has {sorted(part)}")
        for test in suite["tests"]:
            # Twister asks for a section and a name.
            if test.count(".") < 1:
                fail(f"zephyr: {path}: {test}")


def cmsis_pack():
    """Rules of packchk that need no schema: file names, references, versions."""
    folder = packages / "cmsis-pack"
    (path,) = folder.glob("*.pdsc")
    package = xml.etree.ElementTree.parse(path).getroot()
    vendor, pack = package.findtext("vendor"), package.findtext("name")
    if path.name != f"{vendor}.{pack}.pdsc":
        fail(f"cmsis-pack: {path.name} is not of {vendor}.{pack}")
    names = [file.get("name") for file in package.iter("file")]
    names += [licence.get("name") for licence in package.iter("license") if licence.get("name")]
    names.append(package.findtext("license"))
    for file in names:
        if "\\" in file or not (folder / file).exists():
            fail(f"cmsis-pack: {file} is not there")
    conditions = {condition.get("id") for condition in package.iter("condition")}
    for component in package.iter("component"):
        if component.get("condition") not in conditions or component.get("Cclass") != "Machine Learning":
            fail(f"cmsis-pack: component {component.attrib}")
    releases = [release.get("version") for release in package.iter("release")]
    if [component.get("Cversion") for component in package.iter("component")] != releases:
        fail(f"cmsis-pack: releases {releases}")


def manifests():
    for folder in sorted(packages.iterdir()):
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["ecosystem"] != folder.name or manifest["vectors"]["count"] < 8 or not manifest["estimates"]:
            fail(f"{folder.name}: manifest.json")


for check in [bills_of_materials, platformio, esp_idf, zephyr, cmsis_pack, manifests]:
    check()
    print(f"  {check.__name__}: as it should be")
