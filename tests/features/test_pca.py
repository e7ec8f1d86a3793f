"""Principal components: of training rows only, the same signs every time, as an independent implementation has them."""

from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError, ModelError
from fxgpt_core.features.pca import PCA, PCAConfig

RNG = np.random.default_rng(3)
LATENT = RNG.normal(size=(600, 3)) * [3.0, 2.0, 1.0]
X = (LATENT @ RNG.normal(size=(3, 12)) + 0.1 * RNG.normal(size=(600, 12)) + 0.5).astype(np.float32)
TRAIN = np.arange(600) < 400


def test_it_agrees_with_scikit_learn_up_to_sign() -> None:
    from sklearn.decomposition import PCA as Theirs

    ours = PCA.fit(X, TRAIN, PCAConfig(variance=1.0))
    theirs = Theirs().fit(X[TRAIN].astype(np.float64))
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, atol=1e-6)
    expected = theirs.transform(X.astype(np.float64))[:, :3]
    found = ours.transform(X)[:, :3]
    signs = np.sign((expected * found).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-3)


def test_rows_outside_training_change_nothing() -> None:
    other = X.copy()
    other[~TRAIN] = RNG.normal(size=(200, 12)) * 50
    left, right = (PCA.fit(x, TRAIN) for x in (X, other))
    np.testing.assert_array_equal(left.directions, right.directions)
    np.testing.assert_array_equal(left.mean, right.mean)


def test_signs_do_not_depend_on_the_solver() -> None:
    fitted = PCA.fit(X, TRAIN, PCAConfig(variance=0.99))
    loudest = np.abs(fitted.directions).argmax(axis=0)
    assert (fitted.directions[loudest, np.arange(len(loudest))] > 0).all()
    turned = PCA.fit(-X, TRAIN, PCAConfig(variance=0.99))  # a mirrored cloud has the same directions
    np.testing.assert_allclose(turned.directions, fitted.directions, atol=1e-6)


def test_a_tie_between_opposite_loadings_goes_to_the_first_column() -> None:
    one = RNG.normal(size=(200, 1))
    for flip in (1, -1):
        fitted = PCA.fit(np.hstack([flip * one, -flip * one]), slice(None), PCAConfig(most=1))
        np.testing.assert_allclose(fitted.directions[:, 0], [0.5**0.5, -(0.5**0.5)], atol=1e-9)


@pytest.mark.parametrize(("variance", "most"), [(0.5, 100), (0.9, 100), (0.99, 100), (1.0, 100), (1.0, 2)])
def test_as_few_components_as_explain_enough(variance: float, most: int) -> None:
    fitted = PCA.fit(X, TRAIN, PCAConfig(variance=variance, most=most))
    count = len(fitted.explained)
    assert count <= most
    if count < most:
        assert fitted.explained.sum() >= variance - 1e-9
        assert fitted.explained[:-1].sum() < variance
    assert (np.diff(fitted.explained) <= 0).all()
    assert fitted.names == tuple(f"pc_{i}" for i in range(1, count + 1))
    np.testing.assert_allclose(fitted.directions.T @ fitted.directions, np.eye(count), atol=1e-9)


def test_more_columns_than_rows_give_no_empty_components() -> None:
    fitted = PCA.fit(RNG.normal(size=(20, 50)), slice(None), PCAConfig(variance=1.0))
    assert fitted.directions.shape == (50, 19)


def test_it_round_trips_through_a_file(tmp_path: Path) -> None:
    fitted = PCA.fit(X, TRAIN)
    fitted.save(tmp_path / "pca.safetensors")
    again = PCA.load(tmp_path / "pca.safetensors")
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(again.explained, fitted.explained)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    for name in ("bad.safetensors", "none.safetensors"):
        with pytest.raises(ModelError, match="no principal components"):
            PCA.load(tmp_path / name)


def test_a_row_has_the_same_components_alone_and_among_others() -> None:
    fitted = PCA.fit(X, TRAIN)
    np.testing.assert_allclose(fitted.transform(X[5:6])[0], fitted.transform(X)[5], atol=1e-5)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="two training rows"):
        PCA.fit(X, np.zeros(600, dtype=bool))
    with pytest.raises(DataError, match="varies"):
        PCA.fit(np.ones((10, 2)), slice(None))
    with pytest.raises(DataError, match="known values"):
        PCA.fit(np.where(X > 3, np.nan, X), slice(None))
    with pytest.raises(DataError, match="12 columns"):
        PCA.fit(X, TRAIN).transform(X[:, :5])
