package jenkins.security

class ApiTokenProperty {
  final TokenStore tokenStore = new TokenStore()

  boolean matchesPassword(String token) { return tokenStore.tokens.any { it.plain == token } }

  static class HashedToken {
    String uuid
    String name
    String plain
  }

  static class TokenUuidAndPlainValue {
    public String tokenUuid
    public String plainValue
  }

  static class TokenStore {
    final List<HashedToken> tokens = []

    TokenUuidAndPlainValue generateNewToken(String name) {
      String uuid = UUID.randomUUID()
      String plain = '11' + uuid.replace('-', '')
      tokens << new HashedToken(uuid: uuid, name: name, plain: plain)
      return new TokenUuidAndPlainValue(tokenUuid: uuid, plainValue: plain)
    }

    Collection<HashedToken> getTokenListSortedByName() { return tokens.sort(false) { it.name } }

    HashedToken revokeToken(String uuid) {
      HashedToken found = tokens.find { it.uuid == uuid }
      tokens.remove(found)
      return found
    }
  }
}
