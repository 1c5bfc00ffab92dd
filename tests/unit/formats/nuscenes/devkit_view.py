"""What nuScenes' development kit sees in a version; run by a Python that has it.

Usage: python devkit_view.py DATAROOT; prints JSON, one entry per sweep of the lidar.
"""

import json
import sys

import numpy as np
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud

nusc = NuScenes(version="v1.0-mini", dataroot=sys.argv[1], verbose=False)
view = {}
for record in nusc.sample_data:
    if record["channel"] != "LIDAR_TOP":
        continue
    path, _, _ = nusc.get_sample_data(record["token"])
    pose = nusc.get("ego_pose", record["ego_pose_token"])
    entry = {
        "points": LidarPointCloud.from_file(path).points.T.tolist()[:50],
        "num_points": LidarPointCloud.from_file(path).nbr_points(),
        "translation": pose["translation"],
        "is_key_frame": record["is_key_frame"],
    }
    if record["is_key_frame"]:
        sample = nusc.get("sample", record["sample_token"])
        boxes = []
        for token in sample["anns"]:
            annotation = nusc.get("sample_annotation", token)
            box = nusc.get_box(token)
            boxes.append(
                {
                    "category": box.name,
                    "track": annotation["instance_token"],
                    "center": box.center.tolist(),
                    "wlh": box.wlh.tolist(),
                    "corners": box.corners().T.tolist(),
                    "velocity": np.nan_to_num(nusc.box_velocity(token), nan=-999.0).tolist(),
                    "num_lidar_pts": annotation["num_lidar_pts"],
                    "attributes": [
                        nusc.get("attribute", name)["name"]
                        for name in annotation["attribute_tokens"]
                    ],
                }
            )
        entry["boxes"] = boxes
        entry["channels"] = sorted(sample["data"])
    view[str(record["timestamp"])] = entry
json.dump(view, sys.stdout)
