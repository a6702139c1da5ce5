"""Run all benchmarks, each against peers in the same run: ``make bench``.

An absolute time says more of the machine than of the code, so what counts is a ratio. ``--scale 0.1`` runs small.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bench_annotations
import bench_database
import bench_deformation
import bench_parametric_map
import bench_query
import bench_report
import bench_retrieve
import bench_segmentation
import bench_slide
import bench_store
import bench_structure_set
import bench_structure_set_export

BENCHES = {
    "segmentation": bench_segmentation,
    "parametric-map": bench_parametric_map,
    "structure-set": bench_structure_set,
    "structure-set-export": bench_structure_set_export,
    "deformation": bench_deformation,
    "report": bench_report,
    "slide": bench_slide,
    "annotations": bench_annotations,
    "store": bench_store,
    "query": bench_query,
    "database": bench_database,
    "retrieve": bench_retrieve,
}


def main() -> int:
    """Run and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data, 1 is that of the targets")
    parser.add_argument("--only", choices=list(BENCHES), help="one of them")
    arguments = parser.parse_args()
    missed = False
    for name, bench in BENCHES.items():
        if arguments.only in (None, name):
            missed = bool(bench.report(bench.run(arguments.scale))) or missed
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
