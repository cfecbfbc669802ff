"""Sweeps: what to train and where. Plans and their price, the store of results, and the engines."""

from vitscale.sweeps.config import plan_to_toml as plan_to_toml
from vitscale.sweeps.config import read_plan as read_plan
from vitscale.sweeps.files import StoreError as StoreError
from vitscale.sweeps.plan import GridSweep as GridSweep
from vitscale.sweeps.plan import Plan as Plan
from vitscale.sweeps.plan import StarSweep as StarSweep
from vitscale.sweeps.presets import preset as preset
from vitscale.sweeps.preview import preview as preview
from vitscale.sweeps.run import run as run
from vitscale.sweeps.store import Store as Store
