"""BibTeX entries of the papers, by arXiv id."""

CITATIONS = {
    "2306.00946": """@inproceedings{liu2023exposing,
  title = {Exposing Attention Glitches with Flip-Flop Language Modeling},
  author = {Liu, Bingbin and Ash, Jordan T. and Goel, Surbhi and Krishnamurthy, Akshay and Zhang, Cyril},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2023}, note = {arXiv 2306.00946}
}""",
    "2407.15160": """@misc{yehudai2024count,
  title = {When Can Transformers Count to n?},
  author = {Yehudai, Gilad and Kaplan, Haim and Ghandeharioun, Asma and Geva, Mor and Globerson, Amir},
  year = {2024}, note = {arXiv 2407.15160}
}""",
    "2412.18626": """@misc{fu2024letters,
  title = {Why Do Large Language Models (LLMs) Struggle to Count Letters?},
  author = {Fu, Tairan and Ferrando, Raquel and Conde, Javier and Arriaga, Carlos and Reviriego, Pedro},
  year = {2024}, note = {arXiv 2412.18626}
}""",
    "2510.26285": """@misc{stefanik2025unravelling,
  title = {Unravelling the Mechanisms of Manipulating Numbers in Language Models},
  author = {Štefánik, Michal and Mickus, Timothee and Kadlčík, Marek and others},
  year = {2025}, note = {arXiv 2510.26285}
}""",
    "2403.19521": """@misc{lv2024recall,
  title = {Interpreting Key Mechanisms of Factual Recall in Transformer-Based Language Models},
  author = {Lv, Ang and Chen, Yuhan and Zhang, Kaiyi and Wang, Yulong and Liu, Lifeng and Wen, Ji-Rong and Xie, Jian
    and Yan, Rui},
  year = {2024}, note = {arXiv 2403.19521}
}""",
}
