"""What pyproject.toml cannot say: the folder web/ is shipped as the data and modules of the package
`dfmcodec.web`.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["dfmcodec*"]), "dfmcodec.web"],
    package_dir={"dfmcodec.web": "web"},
)
