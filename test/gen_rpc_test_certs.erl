%% SPDX-License-Identifier: Apache-2.0
%% Certificates for the suites. Good ones come from examples/make-certs, as a user would make them;
%% all that is wrong, unusual or hostile is made here by openssl, under the same authorities.
-module(gen_rpc_test_certs).

-export([new/1, impostor/2, authority/3, intermediate/2]).
-export([node/2, node/3, options/1, with_key_of/2, encrypted/3]).
-export([revoked_list/3, bundle/2, broken/2, dh_file/2]).
-export([script/1, openssl/1]).

-type ca() :: #{dir := file:filename(),            % where its files and those of its nodes are
                certfile := file:filename(),
                keyfile := file:filename(),
                cacertfile := file:filename(),     % the root that its nodes trust
                chain := [file:filename()]}.       % from here up to the root, without it

-type cert() :: #{certfile := file:filename(),
                  keyfile := file:filename(),
                  cacertfile => file:filename(),
                  crlfile => file:filename(),
                  password => string() | binary()}.
-export_type([ca/0, cert/0]).

-type key() :: p256 | p384 | rsa1024 | rsa2048 | rsa3072.
-type validity() :: now | expired | not_yet | {seconds, pos_integer()}.
-type option() :: {key, key()}
                | {valid, validity()}
                | {cn, string() | none}                  % default: the node's name
                | {san, [{dns | email | uri, string()}]} % default: email:, and the node's name
                | {usage, [server | client]}
                | {digest, sha256 | sha1}
                | self_signed.

-define(DAY, 86400).

%% What openssl may take for one command, ms.
-define(TIMEOUT, 30000).

%%% Authorities

%% One of the user's own, by examples/make-certs.
-spec new(file:filename()) -> ca().
new(Dir) ->
    {0, _} = script([Dir]),
    root(Dir, filename:join(Dir, "ca.pem"), filename:join(Dir, "ca.key")).

%% Another one that calls itself by the name of a given one.
-spec impostor(file:filename(), ca()) -> ca().
impostor(Dir, #{certfile := Original}) ->
    Output = openssl(["x509", "-in", Original, "-noout", "-subject", "-nameopt", "multiline"]),
    [_, Name] = re:split(string:trim(Output), "commonName += ", [{return, list}]),
    authority(Dir, Name, []).

%% One with options as a node's certificate has them.
-spec authority(file:filename(), string(), [option()]) -> ca().
authority(Dir, Name, Options) ->
    Key = key(Dir, proplists:get_value(key, Options, p256)),
    Cert = signed(#{dir => Dir}, Key, [{cn, Name}, {extensions, authority}, self_signed | Options]),
    root(Dir, Cert, Key).

root(Dir, Cert, Key) ->
    #{dir => Dir, certfile => Cert, keyfile => Key, cacertfile => Cert, chain => []}.

%% One below another. What it signs brings the whole chain up to the root along.
-spec intermediate(ca(), [option()]) -> ca().
intermediate(#{dir := Dir, chain := Chain} = Ca, Options) ->
    Key = key(Dir, proplists:get_value(key, Options, p256)),
    Cert = signed(Ca, Key, [{cn, "intermediate " ++ unique()}, {extensions, authority} | Options]),
    Ca#{certfile := Cert, keyfile := Key, chain := [Cert | Chain]}.

%%% Certificates of nodes

%% As examples/make-certs makes it.
-spec node(ca(), node()) -> cert().
node(#{dir := Dir, cacertfile := Root}, Node) ->
    Name = atom_to_list(Node),
    {0, _} = script([Dir, Name]),
    #{certfile => filename:join(Dir, Name ++ ".pem"), keyfile => filename:join(Dir, Name ++ ".key"),
      cacertfile => Root}.

%% One that differs from it.
-spec node(ca(), node(), [option()]) -> cert().
node(#{dir := Dir, cacertfile := Root, chain := Chain} = Ca, Node, Options0) ->
    Name = atom_to_list(Node),
    Options = Options0 ++ [{cn, Name}, {san, [{email, Name}]}],
    Key = key(Dir, proplists:get_value(key, Options, p256)),
    Cert = signed(Ca, Key, [{extensions, node} | Options]),
    #{certfile => bundle(Dir, [Cert | Chain]), keyfile => Key, cacertfile => Root}.

%% As they go into the settings ssl_server_options and ssl_client_options.
-spec options(cert()) -> [{atom(), term()}].
options(Cert) ->
    lists:sort(maps:to_list(Cert)).

%% A certificate with a key that is not its own.
-spec with_key_of(cert(), cert()) -> cert().
with_key_of(Cert, #{keyfile := Other}) ->
    Cert#{keyfile := Other}.

%% Its key encrypted: in the traditional PEM format, or as PKCS#8 with PBES2.
-spec encrypted(cert(), traditional_aes128 | pbes2_aes256 | pbes2_3des, string()) -> cert().
encrypted(#{keyfile := Plain} = Cert, How, Password) ->
    File = filename:join(filename:dirname(Plain), unique() ++ ".key"),
    Out = ["-in", Plain, "-passout", "pass:" ++ Password, "-out", File],
    _ = case How of
            traditional_aes128 -> openssl(["pkey", "-traditional", "-aes128" | Out]);
            pbes2_aes256 -> openssl(["pkcs8", "-topk8", "-v2", "aes-256-cbc" | Out]);
            pbes2_3des -> openssl(["pkcs8", "-topk8", "-v2", "des3" | Out])
        end,
    Cert#{keyfile := File, password => Password}.

%%% Files beside them

%% A CRL in which these are revoked. It is read by the option crlfile.
-spec revoked_list(ca(), validity(), [cert() | ca()]) -> file:filename().
revoked_list(#{dir := Dir} = Ca, Valid, Revoked) ->
    File = filename:join(Dir, unique() ++ ".crl"),
    Command = ["ca", "-config", config(Dir, []) | signer(Ca)],
    _ = [openssl(Command ++ ["-revoke", Cert]) || #{certfile := Cert} <- Revoked],
    {From, To} = period(Valid),
    _ = openssl(Command ++ ["-gencrl", "-crl_lastupdate", From, "-crl_nextupdate", To,
                            "-out", File]),
    File.

%% Several PEM files in one, in this order.
-spec bundle(file:filename(), [file:filename()]) -> file:filename().
bundle(Dir, Files) ->
    File = filename:join(Dir, unique() ++ ".pem"),
    Parts = [begin {ok, Part} = file:read_file(F), Part end || F <- Files],
    ok = file:write_file(File, Parts),
    File.

%% A file that can't be read, or that is not what it should be: a copy with the given damage.
-spec broken(file:filename(), missing | empty | text | directory | truncated | truncated_der |
             bad_base64 | only_begin | unreadable_der) -> file:filename().
broken(Good, Damage) ->
    File = filename:join(filename:dirname(Good), unique() ++ "." ++ atom_to_list(Damage)),
    {ok, Pem} = file:read_file(Good),
    ok = case Damage of
             missing -> ok;
             directory -> file:make_dir(File);
             _ -> file:write_file(File, damaged(Damage, Pem))
         end,
    File.

damaged(empty, _Pem) ->
    <<>>;
damaged(text, _Pem) ->
    <<"This is no certificate and no key.\n">>;
damaged(truncated, Pem) ->
    binary:part(Pem, 0, byte_size(Pem) div 2);
damaged(bad_base64, Pem) ->
    [Begin, Base64, End] = pem_parts(Pem),
    [Begin, "?*?*", Base64, End];
damaged(only_begin, Pem) ->
    hd(pem_parts(Pem));
damaged(truncated_der, Pem) ->
    [_, Base64, _] = pem_parts(Pem),
    Der = base64:decode(Base64),
    binary:part(Der, 0, byte_size(Der) div 2);
damaged(unreadable_der, Pem) ->
    [Begin, Base64, End] = pem_parts(Pem),
    Der = base64:decode(Base64),
    [Begin, base64:encode(binary:part(Der, 0, byte_size(Der) - 10)), "\n", End].

%% First line, base64, last line.
pem_parts(Pem) ->
    {match, Parts} = re:run(Pem, "^(-----BEGIN [^\n]+-----\n)(.*?)(-----END [^\n]+-----\n)",
                            [dotall, {capture, all_but_first, binary}]),
    Parts.

%% Parameters of a finite field, as `openssl dhparam' writes them but from a table.
-spec dh_file(file:filename(), 1024 | 2048) -> file:filename().
dh_file(Dir, Bits) ->
    File = filename:join(Dir, unique() ++ ".dh.pem"),
    Group = case Bits of
                1024 -> "dh_1024_160";
                2048 -> "ffdhe2048"
            end,
    _ = openssl(["genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:" ++ Group,
                 "-out", File]),
    File.

%%% Commands

%% Runs examples/make-certs: its exit status and all that it says.
-spec script([string()]) -> {non_neg_integer(), string()}.
script(Arguments) ->
    run(filename:join(root_dir(), "examples/make-certs"), Arguments).

root_dir() ->
    filename:dirname(filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile)))).

%% Runs openssl; it must succeed.
-spec openssl([string()]) -> string().
openssl(Arguments) ->
    case run(os:find_executable("openssl"), Arguments) of
        {0, Output} -> Output;
        Failed -> error({openssl, Arguments, Failed})
    end.

run(File, Arguments) ->
    gen_rpc_test_command:run(File, Arguments, ?TIMEOUT).

unique() ->
    integer_to_list(erlang:unique_integer([positive])).

%%% Signing

key(Dir, Kind) ->
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    File = filename:join(Dir, unique() ++ ".key"),
    _ = openssl(["genpkey", "-out", File | key_options(Kind)]),
    File.

key_options(p256) -> curve("P-256");
key_options(p384) -> curve("P-384");
key_options(rsa1024) -> modulus("1024");
key_options(rsa2048) -> modulus("2048");
key_options(rsa3072) -> modulus("3072").

curve(Name) ->
    ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" ++ Name,
     "-pkeyopt", "ec_param_enc:named_curve"].

modulus(Bits) ->
    ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:" ++ Bits].

signed(#{dir := Dir} = Ca, Key, Options) ->
    File = filename:join(Dir, unique() ++ ".pem"),
    Request = filename:join(Dir, unique() ++ ".csr"),
    Subject = case proplists:get_value(cn, Options) of
                  none -> "/O=no common name";
                  Name -> "/CN=" ++ Name
              end,
    Settings = config(Dir, Options),
    _ = openssl(["req", "-config", Settings, "-new", "-key", Key, "-subj", Subject,
                 "-out", Request]),
    {From, To} = period(proplists:get_value(valid, Options, now)),
    Signer = case proplists:get_bool(self_signed, Options) of
                 true -> ["-selfsign", "-keyfile", Key];
                 false -> signer(Ca)
             end,
    Digest = atom_to_list(proplists:get_value(digest, Options, sha256)),
    _ = openssl(["ca", "-config", Settings, "-batch", "-notext", "-md", Digest, "-in", Request,
                 "-out", File, "-startdate", From, "-enddate", To, "-extensions", "extensions"
                 | Signer]),
    File.

signer(#{certfile := Cert, keyfile := Key}) ->
    ["-cert", Cert, "-keyfile", Key].

%% A configuration with an empty database of its own.
config(Dir, Options) ->
    File = filename:join(Dir, unique() ++ ".cnf"),
    ok = file:write_file(File ++ ".index", ""),
    ok = file:write_file(File ++ ".crlnumber", "01\n"),
    ok = file:write_file(
           File,
           ["[req]\ndistinguished_name = nothing\n[nothing]\n"
            "[ca]\ndefault_ca = authority\n"
            "[authority]\n"
            "database = ", File, ".index\n"
            "new_certs_dir = ", Dir, "\n"
            "crlnumber = ", File, ".crlnumber\n"
            "rand_serial = yes\n"
            "default_md = sha256\n"
            "policy = names\n"
            "crl_extensions = list\n"
            "[names]\norganizationName = optional\ncommonName = optional\n"
            "[list]\nauthorityKeyIdentifier = keyid\n"
            "[extensions]\n"
            "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n",
            extensions(proplists:get_value(extensions, Options), Options)]),
    File.

extensions(undefined, _Options) ->
    [];
extensions(authority, _Options) ->
    "basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n";
extensions(node, Options) ->
    ["basicConstraints = CA:FALSE\nkeyUsage = critical,digitalSignature\n",
     extension("extendedKeyUsage", [case Side of
                                        server -> "serverAuth";
                                        client -> "clientAuth"
                                    end || Side <- proplists:get_value(usage, Options,
                                                                       [server, client])]),
     extension("subjectAltName", [case Kind of
                                      dns -> ["DNS:", Name];
                                      email -> ["email:", Name];
                                      uri -> ["URI:", Name]
                                  end || {Kind, Name} <- proplists:get_value(san, Options)])].

extension(_Name, []) -> [];
extension(Name, Values) -> [Name, " = ", lists:join(",", Values), "\n"].

%% From an hour ago on, because a clock may be behind.
period(now) -> {moment(-3600), moment(365 * ?DAY)};
period(expired) -> {moment(-10 * ?DAY), moment(-?DAY)};
period(not_yet) -> {moment(?DAY), moment(10 * ?DAY)};
period({seconds, Seconds}) -> {moment(-3600), moment(Seconds)}.

moment(Seconds) ->
    Time = calendar:system_time_to_universal_time(erlang:system_time(second) + Seconds, second),
    {{Year, Month, Day}, {Hour, Minute, Second}} = Time,
    lists:flatten(io_lib:format("~4..0b~2..0b~2..0b~2..0b~2..0b~2..0bZ",
                                [Year, Month, Day, Hour, Minute, Second])).
