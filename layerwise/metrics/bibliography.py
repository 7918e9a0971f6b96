"""The papers that metrics come from: one table, of which the `reference` of a variable names the rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["WORKS", "Work", "keys_of", "works_of"]


@dataclass(frozen=True)
class Work:
    """A paper, and where it is found.

    Attributes
    ----------
    authors, title : str
    arxiv, doi : str
        Its numbers, as far as it has them.
    url : str
        Its page, where it has neither.
    """

    authors: str
    title: str
    arxiv: str = ""
    doi: str = ""
    url: str = ""

    @property
    def identifier(self) -> str:
        """The DOI, else the number on arXiv, else the address."""
        return f"doi:{self.doi}" if self.doi else f"arXiv:{self.arxiv}" if self.arxiv else self.url


#: Papers by first author, or both authors, and year.
WORKS: dict[str, Work] = {
    "Alain & Bengio 2016": Work(
        "Alain, Bengio", "Understanding Intermediate Layers Using Linear Classifier Probes", "1610.01644"
    ),
    "Andriopoulos 2024": Work(
        "Andriopoulos, Dong, Guo, Zhao, Ross",
        "The Prevalence of Neural Collapse in Neural Multivariate Regression",
        "2409.04180",
    ),
    "Bao 2019": Work(
        "Bao, Li, Huang, Zhang, Zheng, Zamir, Guibas",
        "An Information-Theoretic Approach to Transferability in Task Transfer Learning",
        "2212.10082",
    ),
    "Ben-Shaul & Dekel 2022": Work(
        "Ben-Shaul, Dekel", "Nearest Class-Center Simplification through Intermediate Layers", "2201.08924"
    ),
    "Dang 2023": Work(
        "Dang, Tran, Osher, Tran-The, Ho, Nguyen",
        "Neural Collapse in Deep Linear Networks: From Balanced to Imbalanced Data",
        "2301.00437",
    ),
    "Dang 2024": Work(
        "Dang, Tran, Nguyen, Ho",
        "Neural Collapse for Cross-entropy Class-Imbalanced Learning with Unconstrained ReLU Feature Model",
        "2401.02058",
    ),
    "Dherin 2022": Work(
        "Dherin, Munn, Rosca, Barrett",
        "Why Neural Networks Find Simple Solutions: The Many Regularizers of Geometric Complexity",
        "2209.13083",
    ),
    "Fang 2021": Work(
        "Fang, He, Long, Su",
        "Exploring Deep Neural Networks via Layer-Peeled Model: Minority Collapse in Imbalanced Training",
        "2101.12699",
    ),
    "Galanti 2021": Work(
        "Galanti, Gy\u00f6rgy, Hutter", "On the Role of Neural Collapse in Transfer Learning", "2112.15121"
    ),
    "Galanti 2022": Work(
        "Galanti, Galanti, Ben-Shaul",
        "On the Implicit Bias Towards Minimal Depth of Deep Neural Networks",
        "2202.09028",
    ),
    "Gao 2017": Work(
        "Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy, Ganguli",
        "A Theory of Multineuronal Dimensionality, Dynamics and Measurement",
        doi="10.1101/214262",
    ),
    "He & Su 2022": Work(
        "He, Su", "A Law of Data Separation in Deep Learning", "2210.17020", "10.1073/pnas.2221704120"
    ),
    "Hong & Ling 2023": Work(
        "Hong, Ling",
        "Neural Collapse for Unconstrained Feature Model under Cross-entropy Loss with Imbalanced Data",
        "2309.09725",
    ),
    "Ibrahim 2021": Work(
        "Ibrahim, Ponomareva, Mazumder",
        "Newer is Not Always Better: Rethinking Transferability Metrics, Their Peculiarities, "
        "Stability and Performance",
        "2110.06893",
    ),
    "Jacot 2024": Work(
        "Jacot, S\u00faken\u00edk, Wang, Mondelli",
        "Wide Neural Networks Trained with Weight Decay Provably Exhibit Neural Collapse",
        "2410.04887",
    ),
    "Jiang 2023": Work(
        "Jiang, Zhou, Wang, Qu, Mixon, You, Zhu",
        "Generalized Neural Collapse for a Large Number of Classes",
        "2310.05351",
    ),
    "Kornblith 2019": Work(
        "Kornblith, Norouzi, Lee, Hinton", "Similarity of Neural Network Representations Revisited", "1905.00414"
    ),
    "Kothapalli 2022": Work(
        "Kothapalli, Rasromani, Awatramani",
        "Neural Collapse: A Review on Modelling Principles and Generalization",
        "2206.04041",
    ),
    "Masarczyk 2023": Work(
        "Masarczyk, Ostaszewski, Imani, Pascanu, Mi\u0142o\u015b, Trzci\u0144ski",
        "The Tunnel Effect: Building Data Representations in Deep Neural Networks",
        "2305.19753",
    ),
    "Munn 2024": Work(
        "Munn, Dherin, Gonzalvo",
        "The Impact of Geometric Complexity on Neural Collapse in Transfer Learning",
        "2405.15706",
    ),
    "Nguyen 2021": Work(
        "Nguyen, Raghu, Kornblith",
        "Do Wide and Deep Networks Learn the Same Things? Uncovering How Neural Network Representations Vary "
        "with Width and Depth",
        "2010.15327",
    ),
    "Papyan 2020": Work(
        "Papyan, Han, Donoho",
        "Prevalence of Neural Collapse during the Terminal Phase of Deep Learning Training",
        "2008.08186",
        "10.1073/pnas.2015509117",
    ),
    "Parker 2023": Work(
        "Parker, Onal, Stengel, Intrater",
        "Neural Collapse in the Intermediate Hidden Layers of Classification Neural Networks",
        "2308.02760",
    ),
    "Rangamani 2023": Work(
        "Rangamani, Lindegaard, Galanti, Poggio",
        "Feature Learning in Deep Classifiers through Intermediate Neural Collapse",
        url="https://proceedings.mlr.press/v202/rangamani23a.html",
    ),
    "Rangamani & Unal 2026": Work("Rangamani, Unal", "Deep Neural Regression Collapse", "2603.23805"),
    "Roy & Vetterli 2007": Work(
        "Roy, Vetterli",
        "The Effective Rank: A Measure of Effective Dimensionality",
        url="https://www.eurasip.org/Proceedings/Eusipco/Eusipco2007/Papers/a5p-h05.pdf",
    ),
    "Rudelson & Vershynin 2007": Work(
        "Rudelson, Vershynin",
        "Sampling from Large Matrices: An Approach through Geometric Functional Analysis",
        doi="10.1145/1255443.1255449",
    ),
    "Thrampoulidis 2022": Work(
        "Thrampoulidis, Kini, Vakilian, Behnia",
        "Imbalance Trouble: Revisiting Neural-Collapse Geometry",
        "2208.05512",
    ),
    "Tirer 2022": Work("Tirer, Huang, Niles-Weed", "Perturbation Analysis of Neural Collapse", "2210.16658"),
    "Wu & Papyan 2024": Work(
        "Wu, Papyan", "Linguistic Collapse: Neural Collapse in (Large) Language Models", "2405.17767"
    ),
    "Xu & Liu 2023": Work("Xu, Liu", "Quantifying the Variability Collapse of Neural Networks", "2306.03440"),
    "You 2021": Work(
        "You, Liu, Wang, Long",
        "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
        "2102.11005",
    ),
    "Zhou 2022": Work(
        "Zhou, Li, Ding, You, Qu, Zhu",
        "On the Optimization Landscape of Neural Collapse under MSE Loss: "
        "Global Optimality with Unconstrained Features",
        "2203.01238",
    ),
    "Zhu 2021": Work(
        "Zhu, Ding, Zhou, Li, You, Sulam, Qu",
        "A Geometric Analysis of Neural Collapse with Unconstrained Features",
        "2105.02375",
    ),
}


def keys_of(reference: str) -> list[str]:
    """The keys of `WORKS` that the `reference` of a variable names.

    Examples
    --------
    >>> keys_of("Dang 2023, 2024; Hong & Ling 2023 (imbalance)")
    ['Dang 2023', 'Dang 2024', 'Hong & Ling 2023']
    """
    keys = []
    for part in re.sub(r"\([^)]*\)", "", reference).split(";"):
        names, *years = re.split(r",?\s+(?=\d{4}\b)", part.strip())
        keys += [f"{names} {year.strip()}" for year in years]
    return keys


def works_of(reference: str) -> list[Work]:
    """The papers that the `reference` of a variable names, as far as the table has them."""
    return [WORKS[key] for key in keys_of(reference) if key in WORKS]
