"""Building blocks for agents that think harder where it pays off.

`fasttts_agents.langchain` and `fasttts_agents.llama_index` hold them in each framework's form;
this package imports neither framework.
"""

from fasttts_agents.deliberate import Deliberation

__all__ = ["Deliberation"]
