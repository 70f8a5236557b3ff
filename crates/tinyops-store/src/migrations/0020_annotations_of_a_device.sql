-- All orders of a device, which an owner may take back.
CREATE INDEX annotations_device ON annotations (device);
