# What is in a package. Read by `run`.
# shellcheck shell=bash disable=SC2154

# Every path that a package has, below its root; of a package for machines that have Debian's layout.
expected() { # ZSH
  local plugin doc
  printf '%s\n' etc/tidegate/tidegate.toml usr/bin/tidegate usr/lib/systemd/system/tidegate.service
  for plugin in "$root"/plugins/dist/*.wasm; do
    echo "usr/lib/tidegate/plugins/${plugin##*/}"
  done
  for doc in README.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT copyright tidegate.toml prometheus-alerts.yml \
    {brokers,from-mosquitto,install,metrics,nats,operations,plugins}.md; do
    echo "usr/share/doc/tidegate/$doc"
  done
  [[ ! -f $root/config/grafana-dashboard.json ]] || echo usr/share/doc/tidegate/grafana-dashboard.json
  printf '%s\n' usr/share/bash-completion/completions/tidegate "usr/share/zsh/$1/_tidegate" usr/share/fish/vendor_completions.d/tidegate.fish \
    usr/share/tidegate/tidegate.schema.json usr/share/man/man1/tidegate.1.gz usr/share/man/man1/tidegate-run.1.gz
}

# What is expected is there, as files with something in them; and nothing is there that nobody expects, but more man pages.
holds_what_it_should() { # DIR ZSH
  local path
  expected "$2" | sort >"$work/expected"
  (cd "$1" && find . ! -type d ! -path ./install -printf '%P\n' | sort) >"$work/found"
  comm -13 "$work/expected" "$work/found" | fails grep -v '^usr/share/man/man1/tidegate-.*\.1\.gz$'
  [[ -z $(comm -23 "$work/expected" "$work/found") ]]
  while read -r path; do
    [[ -s $1/$path && ! -L $1/$path ]]
  done <"$work/found"
  # Nobody but root writes there, and nothing runs as its owner.
  [[ -z $(find "$1" -perm /7022 -print) ]]
  [[ $(stat -c %a "$1/usr/bin/tidegate") = 755 ]]
  cmp "$root/config/box.toml" "$1/etc/tidegate/tidegate.toml"
  for path in "$1"/usr/share/man/man1/*.gz; do
    [[ $path != *'*'* ]] || continue
    gunzip -t "$path"
  done
  readelf -S "$1/usr/bin/tidegate" | fails grep -q -e '\.symtab' -e '\.debug_info'
}

deb_shape() { # DEB TARGET
  local dir=$work/deb-$2 field
  rm -rf "$dir"
  dpkg-deb -R "$1" "$dir"
  for field in Package Version Architecture Maintainer Installed-Size Depends Description; do
    [[ -n $(dpkg-deb -f "$1" "$field") ]]
  done
  [[ $(dpkg-deb -f "$1" Package) = tidegate && $(dpkg-deb -f "$1" Architecture) = $(debian_name "$2") ]]
  dpkg-deb -f "$1" Depends | grep -qE '^libc6 \(>= 2\.[0-9]+\), '
  dpkg-deb -c "$1" | fails grep -v ' root/root '
  [[ $(cat "$dir/DEBIAN/conffiles") = /etc/tidegate/tidegate.toml ]]
  (cd "$dir" && md5sum --check --quiet DEBIAN/md5sums)
  [[ $(wc -l <"$dir/DEBIAN/md5sums") = $(find "$dir" -type f ! -path '*/DEBIAN/*' ! -path '*/etc/*' | wc -l) ]]
  rm -rf "$dir/DEBIAN"
  holds_what_it_should "$dir" vendor-completions
  is_for "$dir/usr/bin/tidegate" "$2"
}

is_for() { # BINARY TARGET
  case $2 in x86-64) readelf -h "$1" | grep -q 'X86-64' ;; arm64) readelf -h "$1" | grep -q AArch64 ;; esac
}

rpm_shape() { # RPM TARGET
  local dir=$work/rpm-$2
  rm -rf "$dir"
  mkdir -p "$dir"
  rpm -K --nosignature "$1"
  [[ $(rpm -qp --qf '%{NAME} %{OS}' "$1") = 'tidegate linux' ]]
  [[ $(rpm -qpc "$1") = /etc/tidegate/tidegate.toml ]]
  rpm -qpd "$1" | grep -qx /usr/share/doc/tidegate/README.md
  rpm -qp --requires "$1" | grep -qF 'libc.so.6(GLIBC_2.'
  rpm -qp --qf '[%{FILEUSERNAME}:%{FILEGROUPNAME}\n]' "$1" | fails grep -vx root:root
  (cd "$dir" && rpm2archive - <"$1" | tar xz)
  holds_what_it_should "$dir" site-functions
  is_for "$dir/usr/bin/tidegate" "$2"
}

tarball_shape() { # TARBALL
  local dir=$work/tarball
  rm -rf "$dir"
  mkdir -p "$dir"
  tar xf "$1" -C "$dir" --strip-components 1
  [[ -x $dir/install ]]
  [[ $(tar tf "$1" | cut -d/ -f1 | sort -u) = "$(basename "$1" .tar.xz)" ]]
  holds_what_it_should "$dir" vendor-completions
}

image_shape() { # IMAGE
  local dir=$work/layout
  rm -rf "$dir"
  mkdir -p "$dir"
  tar xf "$1" -C "$dir"
  python3 "$here/layout.py" "$dir"
  if command -v skopeo >/dev/null; then
    skopeo inspect "oci:$dir"
    skopeo copy --quiet "oci:$dir" "dir:$work/copied" # reads every blob, and compares its digest
  fi
}

scripts_in_order() {
  local scripts=("$root"/scripts/{package,install,soak} "$root"/scripts/package.d/deb/* "$here/run" "$here"/*.sh) script
  for script in "${scripts[@]}"; do
    case $(head -n 1 "$script") in *bash | \#\ *) bash -n "$script" ;; *) sh -n "$script" ;; esac
  done
  ! command -v shellcheck >/dev/null || (cd "$root" && shellcheck --external-sources "${scripts[@]}")
  python3 -c "import ast, sys; [ast.parse(open(p).read()) for p in sys.argv[1:]]" "$root"/scripts/package.d/*.py "$here"/*.py
}

# Without a systemd that can say it there is nothing to see here; `scripts/soak packages` brings one.
unit_hardened() {
  local unit=$root/config/tidegate.service
  grep -qx Type=notify "$unit"
  grep -q ^WatchdogSec= "$unit"
  command -v systemd-analyze >/dev/null || return 0
  systemd-analyze security --offline=true --threshold=15 "$unit" # 1.5
  fresh_root
  install -D "$tree/usr/bin/tidegate" "$r/usr/bin/tidegate"
  cp "$unit" "$r/usr/lib/systemd/system/tidegate.service"
  [[ -x $r/usr/bin/man ]] || sed -i /^Documentation=/d "$r/usr/lib/systemd/system/tidegate.service"
  [[ ! -x $r/usr/bin/systemd-analyze ]] || in_root systemd-analyze verify --man=no /usr/lib/systemd/system/tidegate.service
}

no_paths_of_ours() {
  [[ -z $binary ]] || return 0 # it was not built by scripts/package
  fails grep -raF -e "$root/" -e "$target_dir/" -e "$HOME/.cargo" "$tree" -l
}

same_again() {
  local file
  for file in "$work"/again/*.*; do
    cmp "$file" "$work/packages/${file##*/}"
  done
}
