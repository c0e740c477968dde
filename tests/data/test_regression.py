"""Regression problems, diagonal and given: batches, whitening, and files that are not what they should be."""

import io
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankscope.data.regression import MAX_NUMBERS, Regression, diagonal_regression, load_regression

DIAGONAL = diagonal_regression([0.5, 1.0, 2.0])
FULL = {"batch_size": 3, "seed": 0}


def numbered(count, held_out=2):
    """Sample n is (n, 10 n) ↦ −n; the last ones are held out."""
    n = np.arange(float(count))[:, None]
    inputs, targets = np.hstack([n, 10 * n]), -n
    train, validation = slice(None, count - held_out), slice(count - held_out, None)
    return Regression("numbered", inputs[train], targets[train], inputs[validation], targets[validation])


@pytest.fixture
def saved(tmp_path):
    """Write arrays as a user does and give back the path."""

    def save(save=np.savez, **arrays):
        save(tmp_path / "xy.npz", **arrays)
        return str(tmp_path / "xy.npz")

    return save


@pytest.fixture
def archive(tmp_path):
    """Write an archive of the given bytes, which NumPy would never write so."""

    def write(**members):
        with zipfile.ZipFile(tmp_path / "xy.npz", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(f"{name}.npy", content)
        return str(tmp_path / "xy.npz")

    return write


def npy(shape, dtype="<f8", content=b"", version=(1, 0)):
    """An array's file, with any header."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return np.lib.format.magic(*version) + len(header).to_bytes(2 * version[0], "little") + header + content


def refusal(path, **arguments):
    with pytest.raises(ValueError, match="Received: ") as error:
        load_regression(path, **arguments)
    assert "\n" not in str(error.value)
    assert path in str(error.value)
    return str(error.value)


# === The diagonal problem ===


def test_inputs_are_white_and_targets_have_the_given_singular_values():
    x, y = DIAGONAL.train_batch(0, **FULL)
    assert (x.dtype, y.dtype) == ("float32", "float32")
    np.testing.assert_array_equal(x.T @ x, np.eye(3))  # Σ_XX
    np.testing.assert_array_equal(np.linalg.svd(y.T @ x, compute_uv=False), [2, 1, 0.5])  # Σ_YX
    assert (DIAGONAL.input_dim, DIAGONAL.output_dim) == (3, 3)


def test_its_validation_part_is_its_training_part():
    batches = DIAGONAL.validation_batches(batch_size=1)
    assert len(batches) == 1
    np.testing.assert_array_equal(batches[0][1], np.diag([0.5, 1, 2]))


def test_its_origin_names_the_singular_values():
    assert DIAGONAL.origin == "diagonal: whitened inputs, target singular values 0.5, 1, 2"
    assert diagonal_regression(range(1, 12)).origin.endswith("values 1, 2, 3, 4, 5, 6, 7, 8, … (3 more)")


@pytest.mark.parametrize(
    ("loss", "learned"), [(2.624, True), (2.625 * (1 - 1e-6), False), (2.625, False), (3.0, False), (np.nan, False)]
)
def test_learned_is_better_than_a_network_of_zeros_by_more_than_rounding(loss, learned):
    """½(0.25 + 1 + 4) = 2.625."""
    assert DIAGONAL.learned({"val_loss": loss}) is learned


# === Batches ===


@pytest.mark.parametrize("batch_size", [5, 6, 10**6])
def test_a_batch_size_of_all_samples_or_more_is_the_full_batch_in_order(batch_size):
    batches = numbered(7).train_batches(batch_size, seed=3, first_step=2, last_step=6)
    assert len(batches) == 4
    for index in range(4):
        assert batches[index][1].ravel().tolist() == [0, -1, -2, -3, -4]


def test_small_batches_see_every_sample_once_before_any_is_seen_again():
    batches = numbered(14).train_batches(batch_size=4, seed=3, first_step=0, last_step=3)
    inputs, targets = (np.concatenate(parts) for parts in zip(*(batches[i] for i in range(3)), strict=True))
    assert sorted(-targets.ravel()) == list(range(12))
    np.testing.assert_array_equal(inputs, np.hstack([-targets, -10 * targets]))  # rows stay together


def test_a_batch_is_a_pure_function_of_seed_and_step():
    data = numbered(40)
    found = data.train_batch(5, 4, seed=1)[1]
    data.train_batch(6, 4, seed=1)  # leaves no trace
    np.testing.assert_array_equal(data.train_batch(5, 4, seed=1)[1], found)
    assert not np.array_equal(data.train_batch(6, 4, seed=1)[1], found)
    assert not np.array_equal(data.train_batch(5, 4, seed=2)[1], found)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_validation_is_one_batch_so_that_its_loss_is_the_sum(batch_size):
    batches = numbered(10, held_out=4).validation_batches(batch_size)
    assert len(batches) == 1
    assert batches[0][1].ravel().tolist() == [-6, -7, -8, -9]


# === Given arrays ===


def test_given_arrays_are_split_by_seed_without_loss(saved):
    n = np.arange(50)
    path = saved(x=np.stack([n, n**2], axis=1), y=-n[:, None])
    splits = []
    for seed in (0, 0, 1):
        data = load_regression(path, validation_fraction=0.3, split_seed=seed)
        assert (data.train_inputs.shape, data.validation_inputs.shape) == ((35, 2), (15, 2))
        every = np.concatenate([data.train_inputs, data.validation_inputs])
        np.testing.assert_array_equal(every[:, 1], every[:, 0] ** 2)
        np.testing.assert_array_equal(-np.concatenate([data.train_targets, data.validation_targets])[:, 0], every[:, 0])
        assert sorted(every[:, 0]) == list(range(50))
        splits.append(set(data.validation_inputs[:, 0]))
    assert splits[0] == splits[1] != splits[2]


def test_without_a_validation_part_the_training_part_stands_in_for_it(saved):
    x, y = np.arange(6.0).reshape(3, 2), np.arange(3.0)[:, None]
    data = load_regression(saved(x=x, y=y), validation_fraction=0)
    for found, expected in ((data.train_batch(0, **FULL), (x, y)), (data.validation_batches(1)[0], (x, y))):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)  # in the file's order
    assert "3 training and 3 validation samples, one for both" in data.origin


@pytest.mark.parametrize("dtype", ["bool", "uint8", ">i4", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_real_numbers_of_every_type_come_as_floatx(saved, save, dtype):
    values = (np.arange(12).reshape(4, 3) % 5).astype(dtype)
    data = load_regression(saved(save, x=np.asfortranarray(values), y=values[:, :1]), validation_fraction=0)
    assert data.train_inputs.dtype == data.train_targets.dtype == "float32"
    np.testing.assert_array_equal(data.train_inputs, values)


def test_floatx_is_followed(saved, monkeypatch):
    path = saved(x=np.full((5, 1), 1 / 3), y=np.full((5, 1), 1e300))
    monkeypatch.setattr(keras.config, "floatx", lambda: "float64")
    x, y = load_regression(path).train_batch(0, 4, seed=0)
    assert (x[0, 0], y[0, 0]) == (1 / 3, 1e300)
    assert diagonal_regression([1 / 3]).train_targets[0, 0] == 1 / 3


def test_the_origin_tells_sizes_and_the_spectrum(saved):
    """x = I and y = diag(3, 4) twice over: Σ_YX = 2 diag(3, 4)."""
    path = saved(x=np.tile(np.eye(2), (2, 1)), y=np.tile(np.diag([3.0, 4.0]), (2, 1)))
    assert load_regression(path, validation_fraction=0).origin == (
        f"npz {path}: 4 training and 4 validation samples, one for both, 2 inputs as given, 2 outputs, "
        "Σ_YX with singular values 8, 6"
    )
    # (XᵀX)^(−½) = I/√2.
    assert load_regression(path, whiten=True, validation_fraction=0).origin.endswith(
        "2 whitened inputs, 2 outputs, Σ_YX with singular values 5.657, 4.243"
    )


def test_a_spectrum_that_would_take_long_is_left_out(saved):
    origin = load_regression(saved(x=np.ones((5, 2000)), y=np.ones((5, 2000)))).origin
    assert origin.endswith("2000 inputs as given, 2000 outputs")


# === Whitening ===


def test_whitening_by_hand(saved):
    """XᵀX = diag(4, 9): columns are divided by 2 and 3, those of the validation part by the same."""
    path = saved(x=np.array([[2, 0], [0, 3], [0, 0]]), y=np.ones((3, 1)))
    data = load_regression(path, whiten=True, validation_fraction=0)
    np.testing.assert_allclose(data.train_inputs, [[1, 0], [0, 1], [0, 0]], atol=1e-7)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_whitened_inputs_have_the_identity_as_sum_of_squares(saved, monkeypatch, condition):
    """To the rounding of float64 times the condition number; in float32 it is that of the cast alone."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=shape))[0] for shape in ((100, 5), (5, 5)))
    x = left * np.geomspace(condition, 1, 5) @ right + 0.0
    path = saved(x=x, y=rng.normal(size=(100, 2)))
    data = load_regression(path, whiten=True)
    np.testing.assert_allclose(data.train_inputs.T @ data.train_inputs, np.eye(5), atol=1e-6)
    monkeypatch.setattr(keras.config, "floatx", lambda: "float64")
    given, white = load_regression(path), load_regression(path, whiten=True)
    np.testing.assert_allclose(white.train_inputs.T @ white.train_inputs, np.eye(5), atol=1e-14 * condition)
    # One symmetric matrix maps both parts; the targets stay as they are.
    whitening = np.linalg.pinv(given.train_inputs) @ white.train_inputs
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-8 * np.abs(whitening).max())
    np.testing.assert_allclose(given.validation_inputs @ whitening, white.validation_inputs, atol=1e-8)
    np.testing.assert_array_equal(given.train_targets, white.train_targets)


@pytest.mark.parametrize(
    ("x", "rank"),
    [
        (np.array([[1.0, 0], [2, 0], [3, 0]]), "rank 1 of 2 columns over 3 training rows"),
        (np.arange(8.0).reshape(2, 4), "rank 2 of 4 columns over 2 training rows"),
        (np.ones((2, 100_000)), "rank 1 of 100000 columns"),  # no 100,000 × 100,000 matrix is made
        (np.zeros((4, 2)), "rank 0 of 2 columns"),
        (np.random.default_rng(0).normal(size=(1000, 3)) @ np.ones((3, 6)) / 7, "rank 1 of 6 columns"),
        # Dependent up to the rounding of float32 only.
        ((np.random.default_rng(0).normal(size=(1000, 3)) @ np.eye(3, 4, 1) / 7).astype("float32"), "rank 3 of 4"),
        ((np.linspace(1, 2, 99)[:, None] ** [1, 1] / [3, 7]).astype("float32"), "rank 1 of 2"),
    ],
)
def test_inputs_that_cannot_be_whitened_are_refused(saved, x, rank):
    path = saved(x=x, y=np.ones((len(x), 1)))
    assert rank in refusal(path, whiten=True, validation_fraction=0)
    load_regression(path, validation_fraction=0)


# === What is refused ===

X, Y = np.ones((10, 2)), np.ones((10, 1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X.astype("U3")}, "array x must hold real numbers. Received: <U3"),
        ({"x": X.astype(object)}, "array x must hold real numbers. Received: object"),
        ({"x": X * 1j}, "array x must hold real numbers. Received: complex128"),
        ({"y": np.zeros((10, 1), "M8[s]")}, "array y must hold real numbers. Received: datetime64[s]"),
        ({"y": np.zeros((10, 1), [("a", float)])}, "array y must hold real numbers. Received: [('a', '<f8')]"),
        ({"y": Y[:, 0]}, "array y must have the shape (samples, outputs), each at least 1. Received: shape (10,)"),
        ({"x": X[..., None]}, "array x must have the shape (samples, inputs), each at least 1. Received: shape (10"),
        ({"x": np.array(1.0)}, "Received: shape ()"),
        ({"x": X[:0], "y": Y[:0]}, "each at least 1. Received: shape (0, 2)"),
        ({"y": Y[:, :0]}, "each at least 1. Received: shape (10, 0)"),
        ({"y": Y[:9]}, "must have the same number of rows, one a sample. Received: x (10, 2), y (9, 1)"),
        ({"x": np.where(X.cumsum(0) == 4, np.nan, X)}, "Received: nan at [3, 0], 2 such of 20"),
        ({"y": np.full((10, 1), -np.inf)}, "Received: -inf at [0, 0], 10 such of 10"),
        ({"x": X * 1e39}, "finite numbers of float32, up to 3.4e+38 in size. Received: 1e+39 at [0, 0]"),
        ({"x": X[:1], "y": Y[:1]}, "leaves one part of the 1 samples"),
    ],
)
def test_arrays_of_another_kind_are_refused_with_what_would_be_right(saved, arrays, message):
    assert message in refusal(saved(**{"x": X, "y": Y, **arrays}))


def test_a_missing_array_is_named_beside_what_there_is(saved):
    assert "x is missing. Received: 'features', 'y'" in refusal(saved(features=X, y=Y))
    assert "y is missing. Received: 'x'" in refusal(saved(x=X))
    assert "x is missing. Received: an empty archive" in refusal(saved())


def test_a_fraction_that_leaves_a_part_empty_is_refused(saved):
    path = saved(x=X, y=Y)
    for fraction in (0.01, 0.99):
        assert f"Received: {fraction}" in refusal(path, validation_fraction=fraction)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy((10**12, 10**12)), f"must hold at most {MAX_NUMBERS:,} numbers. Received: shape (1000000000000, 1000000"),
        (npy((10**6, 50)), "is damaged: shape (1000000, 50) of float64 takes 400000000 bytes. Received: 0 bytes"),
        (npy((1, 1), content=bytes(16)), "takes 8 bytes. Received: 16 bytes"),
        (npy((-1, -1), content=bytes(8)), "each at least 1. Received: shape (-1, -1)"),
        (npy((1, 1), content=bytes(8), version=(2, 0)), "not a NumPy array of format 1.0. Received: another version"),
        (npy("(" * 4000), "is not a NumPy array of format 1.0"),
        (npy("-" * 9000 + "1"), "is not a NumPy array of format 1.0"),
        (npy((1, 1), dtype="<f9"), "is not a NumPy array of format 1.0"),
        (b"", "is not a NumPy array of format 1.0"),
        (b"not an array", "is not a NumPy array of format 1.0"),
    ],
)
def test_a_header_is_believed_only_where_the_file_bears_it_out(archive, member, message):
    assert message in refusal(archive(x=member, y=member))


def test_an_object_array_is_not_unpickled(archive):
    """The pickle would raise, were it loaded."""
    content = io.BytesIO()
    np.save(content, np.full((1, 1), None), allow_pickle=True)
    assert "Received: object" in refusal(archive(x=content.getvalue()[:-10], y=content.getvalue()))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-30], lambda b: b"", lambda b: b"text"])
def test_a_file_that_is_no_whole_archive_is_refused(saved, tmp_path, damage):
    path = saved(x=X, y=Y)
    (tmp_path / "xy.npz").write_bytes(damage((tmp_path / "xy.npz").read_bytes()))
    assert "is not a whole .npz archive as np.savez(path, x=x, y=y) writes it" in refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_noticed(saved, tmp_path, save):
    x = np.random.default_rng(0).normal(size=(100, 20))
    path = saved(save, x=x, y=x)
    content = bytearray((tmp_path / "xy.npz").read_bytes())
    content[2000] ^= 1
    (tmp_path / "xy.npz").write_bytes(content)
    assert "is not a whole .npz archive" in refusal(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_bytes_are_changed_the_file_is_read_or_refused_in_one_line(saved, tmp_path, changes):
    path = saved(x=X, y=Y)
    content = bytearray((tmp_path / "xy.npz").read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    (tmp_path / "xy.npz").write_bytes(content)
    said = ""
    try:
        load_regression(path)
    except ValueError as error:
        said = str(error)
    assert len(said.splitlines()) < 2


def test_a_directory_that_promises_more_than_there_is_is_refused(archive, tmp_path):
    """It says 800 bytes more of x than the compressed stream holds; the header agrees."""
    path = archive(x=npy((101, 1), content=bytes(8)), y=npy((101, 1), content=bytes(808)))
    content = bytearray((tmp_path / "xy.npz").read_bytes())
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = (int.from_bytes(content[size : size + 4], "little") + 800).to_bytes(4, "little")
    (tmp_path / "xy.npz").write_bytes(content)
    assert "is not a whole .npz archive" in refusal(path)


def test_a_compression_that_numpy_does_not_write_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "xy.npz", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("x.npy", npy((1, 1), content=bytes(8)))
    assert "Received: another compression of x" in refusal(str(tmp_path / "xy.npz"))


def test_an_encrypted_archive_is_refused(saved, tmp_path):
    path = saved(x=X, y=Y)
    content = bytearray((tmp_path / "xy.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first entry in the directory
    (tmp_path / "xy.npz").write_bytes(content)
    assert "encrypted" in refusal(path)


def test_a_path_without_a_file_is_refused(tmp_path):
    assert "There is no file at data.path" in refusal(str(tmp_path))
    assert "There is no file at data.path" in refusal("nowhere.npz")
    assert "data.path cannot be read: File name too long" in refusal("n" * 5000)
