#!/usr/bin/python3
"""Opens .dfm files in GIMP 3 by the command dfm."""

import subprocess
import sys
import tempfile
from pathlib import Path

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp, Gio, GLib, GObject  # noqa: E402

DFM = "/usr/local/lib/dfmcodec/bin/dfm"


def load(procedure, run_mode, file, metadata, flags, config, data):
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder, "image.png")
        command = [DFM, "decode", file.get_path(), "-o", str(png), "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            error = GLib.Error.new_literal(Gimp.PlugIn.error_quark(), done.stderr.strip(), 0)
            return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, error), flags
        image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(str(png)))
    status = GObject.Value(Gimp.PDBStatusType, Gimp.PDBStatusType.SUCCESS)
    return Gimp.ValueArray.new_from_values([status, GObject.Value(Gimp.Image, image)]), flags


class DfmFiles(Gimp.PlugIn):
    def do_query_procedures(self):
        return ["file-dfm-load"]

    def do_set_i18n(self, name):
        return False

    def do_create_procedure(self, name):
        procedure = Gimp.LoadProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, load, None)
        procedure.set_menu_label("dfmcodec image")
        procedure.set_documentation("Opens dfmcodec images", "Decodes a .dfm file by the command dfm", name)
        procedure.set_mime_types("image/x-dfm")
        procedure.set_extensions("dfm")
        procedure.set_magics("0,string,\\211DFM")
        return procedure


Gimp.main(DfmFiles.__gtype__, sys.argv)
