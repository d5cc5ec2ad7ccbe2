"""Files of the installed machine: swap, kernel settings, logs, firewall. Pure text; ``services`` has the service."""

from __future__ import annotations

from collections.abc import Collection

from binderlet.deploy.install.services import MARK
from binderlet.deploy.install.wanted import BINDERLET

SWAP = f"""{MARK}
[Unit]
Description=Swap for binderlet's quiet sessions
DefaultDependencies=no
After=local-fs.target systemd-sysctl.service
Before=binderlet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={BINDERLET} swap setup
ExecStop={BINDERLET} swap off

[Install]
WantedBy=multi-user.target
"""

SYSCTL = f"""{MARK}
# Each Jupyter server watches files; the default of 128 instances ends at about 100 sessions.
fs.inotify.max_user_instances = 65536
fs.inotify.max_user_watches = 4194304
fs.file-max = 4194304
kernel.pid_max = 4194304
net.core.somaxconn = 4096
net.ipv4.ip_local_port_range = 10240 65535
net.netfilter.nf_conntrack_max = 262144
# Neighbour tables large enough for a bridge with a thousand sessions.
net.ipv4.neigh.default.gc_thresh1 = 2048
net.ipv4.neigh.default.gc_thresh2 = 8192
net.ipv4.neigh.default.gc_thresh3 = 16384
vm.max_map_count = 1048576
"""

JOURNAL = f"""{MARK}
[Journal]
SystemMaxUse=1G
MaxRetentionSec=3month
"""

UPDATES = f"""{MARK.replace("#", "//")}
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
"""

FIREWALL_UNIT = f"""{MARK}
[Unit]
Description=binderlet's firewall
DefaultDependencies=no
Before=network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/binderlet/firewall.nft
ExecStop=-/usr/sbin/nft delete table inet binderlet_host

[Install]
WantedBy=multi-user.target
"""


METADATA = "169.254.0.0/16, 100.100.100.200, 168.63.129.16"
METADATA6 = "fe80::/10, fd00:ec2::254, fd00:42::42, fd20:ce::254"
"""Where providers tell a machine its user-data, which may hold keys: what runs in containers must not read it."""


def firewall(ports: Collection[int]) -> str:
    """Give the rules: from outside these TCP ports alone; other tables, such as Docker's, are not touched."""
    return f"""#!/usr/sbin/nft -f
{MARK}
table inet binderlet_host
delete table inet binderlet_host
table inet binderlet_host {{
  chain input {{
    type filter hook input priority filter + 10; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif lo accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
    tcp dport {{ {", ".join(map(str, sorted(ports)))} }} accept
  }}
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    # Some of these are name servers, too.
    meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr {{ {METADATA} }} reject
    ip6 daddr {{ {METADATA6} }} reject
  }}
}}
"""
