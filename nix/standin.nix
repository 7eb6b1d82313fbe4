# The stand-in for a Raspberry Pi 5: an emulated board, from inputs that are fixed by hash.
#
# Nothing of the board's own processor runs here: packages are unpacked, what their scripts would do
# is done by hand, and the result is a file system with the owners that the packages name. There are
# no keys in it; each board gets its own when it starts.
{ file ? null, arguments ? builtins.fromJSON (builtins.readFile file) }:

let
  inherit (arguments) system lock runtime pages;

  pins = lock.hosts.${base.host.architecture};
  base = import ./base.nix { inherit system; seedSha256 = pins.seed_nar_sha256; };
  inherit (base) host input seed shell;

  # One line of text, in /etc/edge-standin and in the device tree; reports carry it.
  mark = "edge-buildkit stand-in: emulated (QEMU virt, TCG), not a Raspberry Pi";
  # Revision code of a Pi 5 Model B Rev 1.0 with 2 GB.
  revision = "b04170";
  # Any fixed ones: of the file system, and of the order in its folders.
  uuid = "65646765-7374-416e-a469-6e2d70693500";
  epoch = "1767225600";

  package = sha256: input lock.packages.${sha256}.file sha256 "flat";
  tree = name: packages: base.tree name (map package packages) [ ] [ ];

  workshop = tree "standin-workshop" pins.workshop;
  everything = tree "standin-emulator-packages" pins.emulator;

  # Of the packages of QEMU what this machine needs: two programs, their libraries, no firmware.
  emulator = shell "standin-emulator" { tree = everything; } ''
    mkdir -p $out/bin $out/lib
    cp $tree/usr/bin/qemu-system-aarch64 $tree/usr/bin/qemu-img $out/bin/
    for file in $tree/usr/lib/${host.triplet}/*.so*; do
      if [ -f $file ]; then cp -P $file $out/lib/; fi
    done
  '';

  library = folder: "${folder}/${host.loader} --library-path ${folder}";
  own = library "${workshop}/usr/lib/${host.triplet}";
  python = "${own} ${workshop}/usr/bin/python3.13 -B";
  sources = builtins.path {
    name = "standin-sources";
    path = ./standin;
    filter = path: type: baseNameOf path != "__pycache__";
  };

  make = name: environment: script: shell name ({
    PYTHONHOME = "${workshop}/usr";
    PYTHONPATH = "${sources}";
    PYTHONHASHSEED = "0";
    LC_ALL = "C.UTF-8";
    TZ = "UTC";
    SOURCE_DATE_EPOCH = epoch;
    E2FSPROGS_FAKE_TIME = epoch;
    # mke2fs reads a tar archive with a library that it opens by name.
    LD_LIBRARY_PATH = "";
  } // environment) script;

  kernel = make "standin-kernel-${toString pages}" { } ''
    ln -s ${workshop}/usr/bin/kmod depmod
    ${python} ${sources}/kernel.py ${package lock.kernels.${toString pages}} \
      ${own} --argv0 depmod ${workshop}/usr/bin/kmod
  '';

  initrd = make "standin-initrd-${toString pages}" { } ''
    ${python} ${sources}/initrd.py ${sources}/initrd-init ${package lock.busybox} ${kernel}/first $out
  '';

  devicetree = make "standin.dtb" { } ''
    ${library "${emulator}/lib"} ${emulator}/bin/qemu-system-aarch64 \
      -machine virt-10.0,gic-version=2,dtb-randomness=off,dumpdtb=virt.dtb \
      -cpu cortex-a76 -smp 1 -m 2G -nodefaults -display none
    ${python} ${sources}/devicetree.py virt.dtb $out ${revision} "${mark}"
  '';

  settings = builtins.toJSON {
    inherit mark;
    debs = map (name: "${package name}") lock.roots.${runtime};
    busybox = "${package lock.busybox}";
    init = "${sources}/init";
    vcgencmd = "${sources}/vcgencmd";
    modules = "${kernel}/lib/modules";
  };

  disk = make "standin-${runtime}-${toString pages}.qcow2" {
    inherit settings;
    passAsFile = [ "settings" ];
  } ''
    ${python} ${sources}/system.py $settingsPath root.tar
    truncate -s 8G disk
    ${own} ${workshop}/usr/sbin/mke2fs -q -F -t ext4 -L root -m 0 -N 262144 -J size=32 -U ${uuid} \
      -E hash_seed=${uuid},lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0 \
      -d root.tar disk
    rm root.tar
    ${library "${emulator}/lib"} ${emulator}/bin/qemu-img convert -m 1 -O qcow2 -c \
      -o compression_type=zstd disk $out
  '';

in {
  inherit seed workshop emulator kernel initrd devicetree disk;
  standin = shell "standin.json" {
    value = builtins.toJSON {
      inherit mark runtime pages;
      loader = "${emulator}/lib/${host.loader}";
      library = "${emulator}/lib";
      emulator = "${emulator}/bin/qemu-system-aarch64";
      image_tool = "${emulator}/bin/qemu-img";
      busybox = "${seed}/bin/busybox";
      kernel = "${kernel}/Image";
      initrd = "${initrd}";
      devicetree = "${devicetree}";
      disk = "${disk}";
    };
    passAsFile = [ "value" ];
  } "cp $valuePath $out";
}
