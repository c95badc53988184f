"""Open every dock of the installed plugin in a napari window, to see that it can be done."""

from __future__ import annotations

import sys
from pathlib import Path

import napari
from npe2 import PluginManager

import careamist


def main() -> None:
    print("careamist", careamist.__version__, "from", Path(careamist.__file__).parent)
    PluginManager.instance().discover()
    widgets = PluginManager.instance().get_manifest("careamist").contributions.widgets
    names = [widget.display_name for widget in widgets or []]
    if not names:
        sys.exit("The manifest lists no widget.")
    viewer = napari.Viewer(show=False)
    for name in names:
        _, widget = viewer.window.add_plugin_dock_widget("careamist", name)
        print("opened:", name, type(widget).__name__)
    viewer.close()


if __name__ == "__main__":
    main()
