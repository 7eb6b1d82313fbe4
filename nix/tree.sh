# Unpack $debs into $out with a merged /usr, as a Debian root has it.
# Of the packages in $partial only the files in $members are taken.
mkdir -p $out/usr/bin $out/usr/sbin $out/usr/lib $out/usr/lib64
for name in bin sbin lib lib64; do ln -s usr/$name $out/$name; done

for deb in $debs; do
  mkdir /build/deb
  cd /build/deb
  ar x $deb
  case " $partial " in
    *" $deb "*) wanted=$members ;;
    *) wanted= ;;
  esac
  if [ -e data.tar.xz ]; then
    unxz -c data.tar.xz | tar x -C $out $wanted
  elif [ -e data.tar.gz ]; then
    gunzip -c data.tar.gz | tar x -C $out $wanted
  elif [ -e data.tar ]; then
    tar x -f data.tar -C $out $wanted
  else
    echo "{\"error\": \"$(basename $deb): its data archive is compressed in a way that the seed cannot read\", \"remedy\": \"pin a version of the package that is packed with xz\"}" >&2
    exit 3
  fi
  cd /
  rm -rf /build/deb
done

# Nothing that is read at run time; without it the tree is a third smaller.
rm -rf $out/usr/share/doc $out/usr/share/man $out/usr/share/locale $out/usr/share/bash-completion
