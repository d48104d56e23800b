"""A device that tests can watch, on machines that have none: `PretendDevice`.

What is made on the device ``meta``, or moved there, while it lasts is a `DeviceTensor`, which wraps a tensor of the
host and computes as that does. As on a GPU, tensors of the device and of the host do not mix, and as on Apple's there
is no double precision. Whatever makes the host wait for the device is noted: asking for a number, operators whose
result is as large as the values say, and copies to the host.
"""

import contextlib

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")

# Operators of which the host must know a number, or how large their result is.
WAITING = ("_local_scalar_dense", "_unique2", "bincount", "equal", "is_nonzero", "masked_select", "nonzero")


class DeviceTensor(Tensor):
    """A tensor of the device."""

    waits: list[str] = []  # noqa: RUF012  what made the host wait so far, in order
    watched = True

    @staticmethod
    def __new__(cls, inner):
        place = inner.stride(), inner.storage_offset()
        return Tensor._make_wrapper_subclass(cls, inner.shape, *place, dtype=inner.dtype, device=DEVICE)

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"DeviceTensor({self.inner})"

    def __deepcopy__(self, memo):
        copied = DeviceTensor(self.inner.clone())
        copied = nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied
        return memo.setdefault(id(self), copied)

    @classmethod
    def wait(cls, why):
        if cls.watched:
            cls.waits.append(why)

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        name = operator._schema.name.removeprefix("aten::")
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        by_mask = name in ("index", "index_put", "index_put_") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in tree_leaves(args[1])
        )
        if name in WAITING or by_mask:
            cls.wait(f"{name} by a mask" if by_mask else name)
        elif name == "copy_":
            if not isinstance(args[0], cls):
                cls.wait("a copy to the host")
        elif any(not isinstance(tensor, cls) and tensor.dim() for tensor in tensors):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        on_host = tree_map(host_side, (args, kwargs or {}))
        result = operator(*on_host[0], **on_host[1])
        if any(returned.alias_info and returned.alias_info.is_write for returned in operator._schema.returns):
            return args[0]  # operators in place return what they changed
        return tree_map(device_side, result)


def host_side(value):
    """What a tensor of the device wraps; and the host in the device's place."""
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.inner if isinstance(value, DeviceTensor) else value


def device_side(value):
    """A tensor of the host as one of the device; anything else as it is."""
    if not isinstance(value, Tensor) or isinstance(value, DeviceTensor):
        return value
    if value.dtype in (torch.float64, torch.complex128):
        raise TypeError("the device has no double precision")
    return DeviceTensor(value.detach())


def _to_host(value):
    """The name of the host in place of the device's."""
    return torch.device("cpu") if isinstance(value, torch.device | str) and str(value) == DEVICE.type else value


class _Makes(TorchDispatchMode):
    """Makes what operators make on the device within themselves."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if kwargs.get("device") == DEVICE and not any(isinstance(leaf, DeviceTensor) for leaf in tree_leaves(args)):
            return tree_map(device_side, operator(*args, **tree_map(_to_host, kwargs)))
        return operator(*args, **kwargs)


class PretendDevice(TorchFunctionMode):
    """While it lasts, the device is there."""

    def __enter__(self):
        DeviceTensor.waits.clear()
        self._makes = _Makes()
        self._makes.__enter__()
        self._autocast = torch.autocast
        torch.autocast = lambda kind, **how: self._autocast("cpu" if kind == DEVICE.type else kind, **how)
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._makes.__exit__(*error)
        torch.autocast = self._autocast

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        first = args[0] if args else None
        if name in ("__get__", "__set__", "_parse_to", "device"):  # of an attribute, or of a device by its name
            return function(*args, **kwargs)
        places = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.device | str)]
        kinds = {place.type if isinstance(place, torch.device) else place for place in places}
        if isinstance(first, DeviceTensor):
            if name in ("cpu", "item", "numpy", "tolist") or (name == "to" and "cpu" in kinds):
                DeviceTensor.wait(name)
                return function(first.inner, *args[1:], **kwargs)
        elif DEVICE.type in kinds:
            args, kwargs = tree_map(_to_host, (args, kwargs))
            return tree_map(device_side, function(*args, **kwargs))
        return function(*args, **kwargs)


def move(module):
    """Move a module to the device; its parameters are new ones."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else they keep their kind
    module.to(DEVICE)
    torch.__future__.set_overwrite_module_params_on_conversion(False)


@contextlib.contextmanager
def unwatched():
    """Let the host wait, and do not note it."""
    before, DeviceTensor.watched = DeviceTensor.watched, False
    try:
        yield
    finally:
        DeviceTensor.watched = before
