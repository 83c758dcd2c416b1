# SPDX-License-Identifier: BSD-3-Clause
"""A libvirtd of the tests' own, with its folders in theirs, and domains of it. QEMU runs as the user libvirt-qemu."""

import os
import shutil
import socket
import subprocess

from guest import Guest, made

import vmq

USER = "libvirt-qemu"
FOLDERS = {"etc": "/etc/libvirt", "run": "/run/libvirt", "lib": "/var/lib/libvirt", "cache": "/var/cache/libvirt",
           "log": "/var/log/libvirt"}
DAEMON_CONF = 'auth_unix_rw = "none"\nauth_unix_ro = "none"\nlog_outputs = "3:stderr"\n'
# No security labels, control groups and namespaces of its own: this machine may not have them. The user stays.
QEMU_CONF = (f'user = "{USER}"\nsecurity_driver = "none"\nnamespaces = []\ncgroup_controllers = []\n'
             'stdio_handler = "file"\nremember_owner = 0\n')
DOMAIN = """
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{folder}/vmlinuz</kernel>
    <initrd>{folder}/initramfs.gz</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 ip={address}</cmdline>
  </os>
  <on_reboot>restart</on_reboot>
  <devices>
    <interface type='vhostuser'>
      <mac address='{mac}'/>
      <source type='unix' path='{socket}' mode='{mode}'>{reconnect}</source>
      <model type='virtio'/>
      <rom enabled='no'/>
      <alias name='ua-net'/>
    </interface>
    <serial type='file'><source path='{folder}/console'/></serial>
    <serial type='unix'><source mode='bind' path='{folder}/serial'/></serial>
  </devices>
  <qemu:override>
    <qemu:device alias='ua-net'>
      <qemu:frontend><qemu:property name='vectors' type='unsigned' value='0'/></qemu:frontend>
    </qemu:device>
  </qemu:override>
</domain>
"""


class Libvirtd(vmq.Process):
    """In a mount namespace of its own: this machine's libvirt, if it has one, sees nothing of it."""

    def __init__(self, lab, netns):
        folder = lab.path("libvirt")
        os.mkdir(folder)
        for name in FOLDERS:
            os.mkdir(os.path.join(folder, name))
        for name, content in (("libvirtd.conf", DAEMON_CONF), ("qemu.conf", QEMU_CONF)):
            with open(os.path.join(folder, "etc", name), "w") as file:
                file.write(content)
        for path in FOLDERS.values():
            os.makedirs(path, exist_ok=True)
        mounts = [f"mount --bind {folder}/{name} {path}" for name, path in FOLDERS.items()]
        script = " && ".join([*mounts, f"exec libvirtd --config {FOLDERS['etc']}/libvirtd.conf"])
        super().__init__("libvirtd", netns.words("unshare", "--mount", "--propagation", "private", "sh", "-c", script),
                         lab.path("libvirtd.log"))
        vmq.wait_until(lambda: self.check() and not self.virsh("version", check=False).returncode, "libvirtd to answer")

    def virsh(self, *words, check=True):
        words = ["nsenter", "-t", str(self.pid), "-m", "virsh", "-q", "-c", "qemu:///system", *words]
        done = subprocess.run(words, capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}\n{self.log_tail()}")
        return done


class Domain(Guest):
    """A domain that libvirt starts. @param mode  of its end of the socket: client, or server."""

    def __init__(self, lab, libvirtd, name, mac, address, socket_path, mode):
        self.name, self.libvirtd, self.log_path = name, libvirtd, lab.path(f"{name}/console")
        self.folder = lab.path(name)
        self.begin()
        os.mkdir(self.folder)
        shutil.chown(self.folder, USER)
        for file in ("vmlinuz", "initramfs.gz"):
            shutil.copy(os.path.join(made("mkguest"), file), self.folder)
        reconnect = "<reconnect enabled='yes' timeout='1'/>" if mode == "client" else ""
        with open(os.path.join(self.folder, "domain.xml"), "w") as file:
            file.write(DOMAIN.format(name=name, folder=self.folder, mac=mac, address=address, socket=socket_path, mode=mode,
                                     reconnect=reconnect))
        libvirtd.virsh("create", file.name)
        self.serial = socket.socket(socket.AF_UNIX)
        self.serial.settimeout(vmq.POLL_S)
        self.serial.connect(os.path.join(self.folder, "serial"))

    def reset(self):
        self.libvirtd.virsh("reset", self.name)

    def alive(self):
        return self.libvirtd.virsh("domstate", self.name, check=False).stdout.strip() == "running"

    def check(self):
        if not self.alive():
            raise RuntimeError(f"{self.name} does not run:\n{self.log_tail()}\n{self.libvirtd.log_tail()}")
        return True

    def delete(self):
        if self.serial:
            self.serial.close()
        self.libvirtd.virsh("destroy", self.name, check=False)
