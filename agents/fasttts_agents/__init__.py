"""Building blocks for agents that spend more computation on hard problems.

`fasttts_agents.langchain` and `fasttts_agents.llama_index` adapt them to each framework; this
package imports neither framework.
"""

from fasttts_agents.deliberate import Deliberation

__all__ = ["Deliberation"]
