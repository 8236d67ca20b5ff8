"""What people read about a request: one plain sentence for the member, one for staff."""

from edgegate.sentences.say import member, staff

__all__ = ["member", "staff"]
